"""The worker's training speed beside that of a plain loop with timm.

    PYTHONPATH=scripts python scripts/compare_timm/compare.py pictures.zip --model tf_efficientnet_lite0 --batch 32

Both train the same model on the same pictures with the same batches, augmentation and
optimiser. The plain loop is timm's own: its loader, its optimiser, a step a batch, no
check and no message. They take turns in one process, an epoch each, so that whatever
else the machine does hits both; the first turn of each warms up. Prints the median of
the worker's pictures a second over the loop's, of turns taken one after the other.
Needs torch and timm; uses the GPU where there is one.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import create_loader, resolve_data_config
from timm.optim import create_optimizer_v2

from timm_worker import data, settings, training
from timm_worker.model import Weights


class Files(torch.utils.data.Dataset):
    """Pictures for timm's loader."""

    def __init__(self, pictures: data.Pictures) -> None:
        self.pictures, self.transform = pictures, None

    def __len__(self) -> int:
        return len(self.pictures.files)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        picture = self.pictures.open(i)
        return (self.transform(picture) if self.transform else picture), self.pictures.labels[i]


def describe(archive: Path, folder: Path) -> str:
    """Describe an archive to the worker."""
    found = data.find(data.Archive(str(archive)))
    classes = sorted({label for _, label in found})
    order = list(range(len(found)))
    random.Random(1).shuffle(order)
    fifth = len(found) // 5
    labels = [classes.index(label) for _, label in found]
    d = data.Description("pictures", str(archive.resolve()), classes, True, labels, order, fifth, fifth)
    (folder / "pictures.json").write_text(json.dumps({"format": data.FORMAT, "version": data.VERSION, **d.__dict__}))
    return d.name


def plain_loop(a: argparse.Namespace, images: data.Images, device: torch.device) -> Any:
    """A function that trains one epoch."""
    model = timm.create_model(a.model, num_classes=images.classes).to(device)
    config = resolve_data_config({}, model=model)
    size = (3, a.image_size, a.image_size) if a.image_size else config["input_size"]
    loader = create_loader(
        Files(images.train),
        input_size=size,
        batch_size=a.batch,
        is_training=True,
        use_prefetcher=False,
        no_aug=False,
        scale=(0.08, 1.0),
        color_jitter=0.4,
        re_prob=0.0,
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        num_workers=a.loader_workers,
        persistent_workers=a.loader_workers > 0,
        pin_memory=device.type == "cuda",
    )
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3)
    criterion = torch.nn.CrossEntropyLoss()

    def epoch() -> int:
        model.train()
        count = 0
        for x, y in loader:
            logits = model(x.to(device, non_blocking=True))
            loss = criterion(logits, y.to(device, non_blocking=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            count += len(x)
        return count

    return epoch


def timed(epoch: Any, device: torch.device) -> float:
    """Pictures a second."""
    start = time.perf_counter()
    count = epoch()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=0)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--loader-workers", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        name = describe(a.pictures, Path(folder))
        machine = training.Machine(
            device, Weights(scratch=True), Path(folder), image_size=a.image_size, loader_workers=a.loader_workers
        )
        request = training.Request("t", a.model, {}, name, 1000, 1000, 1, 0.0, "")
        s = settings.parse({"opt": "adamw", "lr": 1e-3, "batch_size": a.batch})
        trial = training.Trial(request, s, machine, training.Watcher(emit=lambda m: None))

        def worker() -> int:
            trial.epoch += 1
            trial.train_epoch()
            return sum(trial.sampler.sizes())

        plain = plain_loop(a, trial.images, device)
        ratios = []
        for turn in range(a.turns + 1):
            first, second = (worker, plain) if turn % 2 else (plain, worker)
            speeds = {first: timed(first, device), second: timed(second, device)}
            if turn:
                ratios.append(speeds[worker] / speeds[plain])
                print(f"turn {turn}: worker {speeds[worker]:.1f}, loop {speeds[plain]:.1f} pictures/s", flush=True)
        cpu = f"CPU, {torch.get_num_threads()} threads"
        where = torch.cuda.get_device_name() if device.type == "cuda" else cpu
        low, high = min(ratios), max(ratios)
        print(f"{a.model}, batch {a.batch}, {where}: {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
