"""One trial: a request trained to its end, with a record for each epoch."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import random
import resource
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.data import Mixup
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import Tensor
from torch.utils.data import DataLoader

from . import data, losses
from .model import ModelError, Network, Weights, create, data_config
from .settings import BadConfigurationError, Settings, parse

Message = dict[str, Any]

CHECKPOINT = "checkpoint.pt"
CHECKPOINT_VERSION = 1

# Of 300 epochs, timm's milestones are 90, 180 and 270.
MILESTONES = (0.3, 0.6, 0.9)

# A loss is looked at this often: to look at it is to wait for the GPU.
LOOK_SECONDS = 1.0


class StoppedError(Exception):
    """Somebody asked to stop."""


class DivergedError(Exception):
    """A loss that is not finite."""


@dataclass(frozen=True)
class Request:
    """What to train; see docs/worker-protocol.md."""

    trial: str
    model: str
    config: Mapping[str, Any]
    dataset: str
    epochs: int
    until: int
    seed: int
    curve_cap: float
    checkpoint: str

    @staticmethod
    def read(m: Mapping[str, Any]) -> Request:
        """Check a message."""
        try:
            r = Request(
                trial=str(m["trial"]),
                model=str(m["model"]),
                config=dict(m["config"] or {}),
                dataset=str(m["dataset"]),
                epochs=int(m["epochs"]),
                until=int(m.get("until") or m["epochs"]),
                seed=int(m["seed"]),
                curve_cap=float(m.get("curve_cap") or 0),
                checkpoint=str(m.get("checkpoint") or ""),
            )
        except (KeyError, TypeError, ValueError) as e:
            raise ValueError(f"not a request: {e!r}") from e
        if r.epochs < 1 or not 1 <= r.until <= r.epochs:
            raise ValueError(f"request of trial {r.trial!r}: {r.until} of {r.epochs} epochs")
        return r

    def identity(self, image_size: int, scratch: bool) -> str:
        """Equal for requests that train the same way."""
        parts = [self.model, dict(self.config), self.dataset, self.epochs, self.seed, image_size, scratch]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass
class Machine:
    """Where trials run and what they may use."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    weights: Weights = field(default_factory=Weights)
    descriptions: Path = field(default_factory=Path)  # folder of the data sets' descriptions
    image_size: int = 0  # 0 is the model's own
    loader_workers: int = 0
    _images: dict[str, data.Images] = field(default_factory=dict)
    _kept: tuple[Any, Trial] | None = None

    def keep(self, t: Trial, identity: str, folder: Path) -> None:
        """Hold a trial in memory that stopped at its checkpoint: it may soon go on."""
        self._kept = (_mark(identity, folder), t)

    def take(self, identity: str, folder: Path | None) -> Trial | None:
        """The trial that is held, if it is this one and nobody else went on with it. Another
        one is let go, so that there is room."""
        kept, self._kept = self._kept, None
        if kept is None or folder is None or kept[0] != _mark(identity, folder):
            return None
        return kept[1]

    def images(self, name: str) -> data.Images:
        """A data set; the last one is kept."""
        if name not in self._images:
            self._images.clear()
            self._images[name] = data.load(data.Description.load(self.descriptions / f"{file_name(name)}.json"))
        return self._images[name]


def _mark(identity: str, folder: Path) -> Any:
    """Equal as long as a checkpoint is not replaced."""
    try:
        s = (folder / CHECKPOINT).stat()
    except OSError:
        return None, time.monotonic()  # equal to no other
    return identity, str(folder), s.st_ino, s.st_mtime_ns, s.st_size


def file_name(name: str) -> str:
    """The name of the file that describes a data set: bytes other than letters, digits,
    '-', '_' and '.' become %XX, and so does a leading dot."""
    kept = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    raw = name.encode()
    return "".join(chr(b) if b in kept and (i or b != ord(".")) else f"%{b:02X}" for i, b in enumerate(raw))


@dataclass
class Watcher:
    """What a trial tells and asks while it runs."""

    emit: Callable[[Message], None]
    beat: Callable[[str], None] = lambda what: None
    stopped: Callable[[], str] = lambda: ""  # why, or ""

    def check(self, what: str) -> None:
        """Between two batches: tell that work goes on, and stop if that is wanted."""
        self.beat(what)
        if why := self.stopped():
            raise StoppedError(why)


def seed_of(seed: int, purpose: str, epoch: int = 0) -> int:
    """A stream of random numbers of its own for each purpose and epoch."""
    return int.from_bytes(hashlib.sha256(f"{purpose}/{seed}/{epoch}".encode()).digest()[:7], "big")


def seed_everything(seed: int) -> None:
    """Seed the generators that torch, timm and the augmentations draw from."""
    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    torch.manual_seed(seed)


def milestones(epochs: int) -> list[int]:
    """The epochs at which multistep cuts, reached in every plan."""
    return [round(m * epochs) for m in MILESTONES]


class Trial:
    """The state of one training run."""

    def __init__(self, r: Request, s: Settings, machine: Machine, watcher: Watcher) -> None:
        self.request, self.settings, self.machine, self.watcher = r, s, machine, watcher
        self.device = machine.device
        watcher.check("reading pictures")
        self.images = machine.images(r.dataset)
        watcher.check("loading the model")
        seed_everything(seed_of(r.seed, "init"))
        # The source head and the original serve the regularisers alone.
        self.network = Network(
            create(r.model, machine.weights, machine.image_size),
            self.images.classes,
            share=s.freeze,
            drop=s.drop,
            stochastic=s.stoch_norm,
            keep_start=s.sp_reg > 0,
            keep_source=s.cotuning_reg > 0,
            keep_original=s.delta_reg > 0,
        )
        self.config = data_config(self.network.model, machine.image_size)
        self.network.to(self.device)
        pin = self.device.type == "cuda"
        workers = machine.loader_workers
        self.loader, self.sampler = data.training_loader(self.images, s, self.config, workers, pin)
        size = max(32, min(128, s.batch_size * 2))
        self.validation = data.evaluation_loader(self.images.validation, self.config, size, workers, pin)
        self.test = data.evaluation_loader(self.images.test, self.config, size, workers, pin)
        if not self.sampler.sizes():
            raise BadConfigurationError(
                f"{len(self.images.train.files)} training pictures make no batch of {s.batch_size}"
            )
        self.relation = self._relate(size) if self.network.source is not None else None
        self.mixup: Mixup | None = None
        if s.mixes:
            self.mixup = Mixup(
                mixup_alpha=s.mixup,
                cutmix_alpha=s.cutmix,
                prob=s.mixup_prob,
                label_smoothing=s.smoothing,
                num_classes=self.images.classes,
            )
        self.optimizer = optimizer(s, self.network)
        self.scheduler = scheduler(s, self.optimizer, r.epochs)
        # Old torch lacks much of bfloat16 on the CPU.
        self.amp = s.amp and self.device.type == "cuda"
        self.scaler = _scaler(self.amp)
        self.epoch = 0
        self.records: list[Message] = []

    def _relate(self, batch: int) -> Tensor:
        """What the target classes are to the pretrained head, on the training pictures as they are."""
        found, labels = [], []
        self.network.model.eval()
        loader = data.evaluation_loader(self.images.train, self.config, batch, self.machine.loader_workers, False)
        with torch.no_grad():
            for x, y in loader:
                self.watcher.check("relating classes")
                self.network(x.to(self.device))
                found.append(torch.softmax(self.network.source_logits().float(), dim=1))
                labels.append(y.to(self.device))
        return losses.relationship(torch.cat(found), torch.cat(labels), self.images.classes)

    def rate(self) -> float:
        """The learning rate of the head."""
        return max(float(g["lr"]) for g in self.optimizer.param_groups)

    def train_epoch(self) -> float:
        """Train once on every picture and return the mean loss."""
        seed = seed_of(self.request.seed, "epoch", self.epoch)
        seed_everything(seed)
        self.sampler.seed = seed_of(self.request.seed, "order", self.epoch)
        self.network.train()
        total = torch.zeros((), device=self.device)
        count, looked = 0, time.monotonic()
        batches = len(self.sampler)
        for i, (x, y) in enumerate(self.loader, start=1):
            self.watcher.check(f"epoch {self.epoch}, batch {i} of {batches}")
            total += self._step(x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)) * len(x)
            count += len(x)
            if time.monotonic() - looked > LOOK_SECONDS:
                self._finite(total, f"batch {i}")
                looked = time.monotonic()
        self._finite(total, "its end")
        return float(total) / count

    def _finite(self, total: Tensor, where: str) -> None:
        if not math.isfinite(float(total)):
            raise DivergedError(f"the training loss of epoch {self.epoch} is not finite at {where}")

    def _step(self, x: Tensor, y: Tensor) -> Tensor:
        """Train on one batch and return its loss."""
        if self.mixup is not None:
            x, targets = self.mixup(x, y)
            targets = targets.to(self.device)
        else:
            targets = losses.one_hot(y, self.images.classes, self.settings.smoothing)
        with autocast(self.device, self.amp):
            loss = self._loss(x, targets)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        if self.settings.clip_grad:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.trained(), self.settings.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()

    def _loss(self, x: Tensor, targets: Tensor) -> Tensor:
        s, n = self.settings, self.network
        logits, features = n(x)
        loss = losses.soft_cross_entropy(logits, targets)
        if not n.body_trains:
            return loss  # nothing else acts on a head alone
        if s.sp_reg > 0:
            loss = loss + s.sp_reg * losses.l2sp(n.start)
        if s.delta_reg > 0:
            loss = loss + s.delta_reg * losses.delta(features, n.original_features(x))
        with autocast(self.device, False):
            if s.bss_reg > 0:
                loss = loss + s.bss_reg * losses.bss(features)
        if s.cotuning_reg > 0 and self.relation is not None:
            loss = loss + s.cotuning_reg * losses.cotuning(n.source_logits(), targets, self.relation)
        return loss

    def evaluate(self, loader: DataLoader) -> tuple[float, float]:
        """Mean cross-entropy and accuracy."""
        self.network.model.eval()
        loss = torch.zeros((), device=self.device, dtype=torch.float64)
        right = torch.zeros((), device=self.device, dtype=torch.int64)
        count = 0
        with torch.no_grad():
            for x, y in loader:
                self.watcher.check(f"epoch {self.epoch}, evaluation")
                y_here = y.to(self.device, non_blocking=True)
                with autocast(self.device, self.amp):
                    logits = self.network(x.to(self.device, non_blocking=True))[0]
                loss += torch.nn.functional.cross_entropy(logits.float(), y_here, reduction="sum")
                right += (logits.argmax(dim=1) == y_here).sum()
                count += len(y)
        return float(loss) / count, int(right) / count

    def advance(self) -> Message:
        """Train one more epoch, evaluate, and return its record."""
        self.epoch += 1
        rate = self.rate()
        start = self._clock()
        train_loss = self.train_epoch()
        middle = self._clock()
        val_loss, val_accuracy = self.evaluate(self.validation)
        _, test_accuracy = self.evaluate(self.test)
        stop = self._clock()
        if not math.isfinite(val_loss):
            raise DivergedError(f"the validation loss of epoch {self.epoch} is not finite")
        self.scheduler.step(self.epoch, val_accuracy)
        record = {
            "type": "record",
            "trial": self.request.trial,
            "epoch": self.epoch,
            "train_loss": train_loss,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "test_accuracy": test_accuracy,
            "learning_rate": rate,
            "train_seconds": max(middle - start, 1e-6),
            "eval_seconds": max(stop - middle, 1e-6),
            "memory_peak": memory_peak(self.device),
        }
        self.records.append(record)
        return record

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the trial depends on: tensors, and a text for all else.
        torch 1.13 reads no other file without running what is in it."""
        source = self.network.source
        optimiser = self.optimizer.state_dict()
        tensors = {f"model/{k}": v for k, v in self.network.model.state_dict().items()}
        tensors |= {f"source/{k}": v for k, v in (source.state_dict() if source is not None else {}).items()}
        scalars: dict[str, dict[str, Any]] = {}
        for i, values in optimiser["state"].items():
            tensors |= {f"optimizer/{i}/{k}": v for k, v in values.items() if isinstance(v, Tensor)}
            scalars[str(i)] = {k: v for k, v in values.items() if not isinstance(v, Tensor)}
        text = {
            "version": CHECKPOINT_VERSION,
            "request": self.request.identity(self.machine.image_size, self.machine.weights.scratch),
            "epoch": self.epoch,
            "records": self.records,
            "groups": optimiser["param_groups"],
            "scalars": scalars,
            "scheduler": _plain(self.scheduler),
            "scaler": self.scaler.state_dict(),
        }
        return {"text": json.dumps(text), **tensors}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        text = json.loads(state["text"])

        def below(prefix: str) -> dict[str, Any]:
            return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}

        self.network.model.load_state_dict(below("model/"))
        if self.network.source is not None:
            self.network.source.load_state_dict(below("source/"))
        moments = {int(i): {**scalars, **below(f"optimizer/{i}/")} for i, scalars in text["scalars"].items()}
        self.optimizer.load_state_dict({"state": moments, "param_groups": text["groups"]})
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(text["scaler"])
        _set_plain(self.scheduler, text["scheduler"])
        self.records, self.epoch = text["records"], text["epoch"]


def optimizer(s: Settings, network: Network) -> torch.optim.Optimizer:
    """timm's optimiser; "sgd" is Nesterov's form there, "momentum" the plain one."""
    options: dict[str, Any] = {}
    if s.opt in ("adam", "adamw", "adamp"):
        options["betas"] = s.opt_betas
    made = create_optimizer_v2(
        network.model,
        opt=s.opt,
        lr=s.lr,
        weight_decay=s.weight_decay,
        momentum=s.momentum,
        layer_decay=s.layer_decay,
        **options,
    )
    if network.source is not None:
        matrices = [p for p in network.source.parameters() if p.ndim > 1]
        vectors = [p for p in network.source.parameters() if p.ndim <= 1]
        made.add_param_group({"params": matrices, "lr": s.lr, "weight_decay": s.weight_decay})
        if vectors:
            made.add_param_group({"params": vectors, "lr": s.lr, "weight_decay": 0.0})
    return made


def scheduler(s: Settings, opt: torch.optim.Optimizer, epochs: int) -> Any:
    """timm's scheduler; plateau watches the validation accuracy."""
    with warnings.catch_warnings():
        # timm warns that plateau's state is in no checkpoint; here it is.
        warnings.simplefilter("ignore", FutureWarning)
        made, _ = create_scheduler_v2(
            opt,
            sched=s.sched,
            num_epochs=epochs,
            decay_epochs=s.decay_epochs,
            # timm cuts an epoch before its milestones.
            decay_milestones=[m + 1 for m in milestones(epochs)],
            patience_epochs=s.patience_epochs,
            decay_rate=s.decay_rate,
            min_lr=0.0,
            warmup_lr=s.warmup_lr,
            warmup_epochs=s.warmup_epochs,
            plateau_mode="max",
        )
    return made


def _plain(scheduler: Any) -> dict[str, Any]:
    """What a scheduler remembers: only that of plateau remembers anything."""
    inner = getattr(scheduler, "lr_scheduler", None)
    if inner is None:
        return {}
    return {
        "best": inner.best,
        "bad": inner.num_bad_epochs,
        "cooldown": inner.cooldown_counter,
        "last": inner.last_epoch,
        "restore": scheduler.restore_lr,
    }


def _set_plain(scheduler: Any, state: dict[str, Any]) -> None:
    if not state:
        return
    inner = scheduler.lr_scheduler
    inner.best, inner.num_bad_epochs, inner.cooldown_counter = state["best"], state["bad"], state["cooldown"]
    inner.last_epoch, scheduler.restore_lr = state["last"], state["restore"]


def autocast(device: torch.device, enabled: bool) -> Any:
    """float16 where that is wanted."""
    if not enabled and not torch.is_autocast_enabled():
        return nullcontext()
    return torch.autocast(device_type=device.type, dtype=torch.float16, enabled=enabled)


def _scaler(enabled: bool) -> Any:
    if hasattr(torch, "amp") and hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler("cuda", enabled=enabled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.cuda.amp.GradScaler(enabled=enabled)


def memory_peak(device: torch.device) -> int:
    """Bytes: on the GPU since the trial began, else of the process since it began."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def out_of_memory(e: BaseException) -> bool:
    """Whether an error says that memory ran out, on the GPU or off it."""
    if isinstance(e, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    text = str(e).lower()
    return isinstance(e, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def save(folder: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint as a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{CHECKPOINT}.tmp-{os.uname().nodename}-{os.getpid()}"
    try:
        with temporary.open("wb") as f:
            torch.save(state, f)
            f.flush()
            os.fsync(f.fileno())
        temporary.replace(folder / CHECKPOINT)
    finally:
        temporary.unlink(missing_ok=True)


def saved(folder: Path, identity: str, device: torch.device) -> dict[str, Any] | None:
    """The checkpoint of the trial, None if there is none that can be used."""
    file = folder / CHECKPOINT
    if not file.exists():
        return None
    try:
        state = dict(torch.load(file, map_location=device, weights_only=True))
        text = json.loads(state["text"])
    except Exception as e:  # torch raises many kinds for a damaged file
        log(f"{file} cannot be read and is left aside: {e}")
        return None
    if text["version"] != CHECKPOINT_VERSION or text["request"] != identity:
        log(f"{file} is of another trial and is left aside")
        return None
    return state


def log(text: str) -> None:
    """A line for people, on standard error."""
    print(f"timm_worker: {text}", file=sys.stderr, flush=True)


def run(message: Mapping[str, Any], machine: Machine, watcher: Watcher) -> None:
    """Work on a request and tell of it. The last message is an end or an error."""
    r = Request.read(message)

    def end(how: str, reason: str = "") -> None:
        watcher.emit(
            {"type": "end", "trial": r.trial, "end": how, "reason": reason, "memory_peak": memory_peak(machine.device)}
        )

    if machine.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(machine.device)
    try:
        end(*_train(r, machine, watcher))
    except StoppedError as e:
        watcher.emit({"type": "error", "trial": r.trial, "reason": f"stopped: {e}"})
    except BadConfigurationError as e:
        end("failed", str(e))
    except DivergedError as e:
        end("diverged", str(e))
    except (ModelError, data.DataError) as e:
        watcher.emit({"type": "error", "trial": r.trial, "reason": str(e)})
    except Exception as e:
        if out_of_memory(e):
            end("out-of-memory", " ".join(str(e).split())[:500])
        else:
            raise
    finally:
        if machine.device.type == "cuda":
            torch.cuda.empty_cache()


def _train(r: Request, machine: Machine, watcher: Watcher) -> tuple[str, str]:
    folder = Path(r.checkpoint) if r.checkpoint else None
    identity = r.identity(machine.image_size, machine.weights.scratch)
    t = machine.take(identity, folder)
    if t is not None:
        t.request, t.watcher = r, watcher
    else:
        t = Trial(r, parse(r.config), machine, watcher)
        if folder is not None and (state := saved(folder, identity, machine.device)) is not None:
            t.restore(state)
            del state
    spent = 0.0
    for record in t.records:
        spent += record["train_seconds"] + record["eval_seconds"]
        if 0 < r.curve_cap <= spent and record["epoch"] > 1:
            return "time-capped", ""
        if record["epoch"] > r.until:
            return "completed", ""
        watcher.emit({**record, "trial": r.trial})
    while t.epoch < r.until:
        if 0 < r.curve_cap <= spent:
            return "time-capped", ""
        record = t.advance()
        spent += record["train_seconds"] + record["eval_seconds"]
        if 0 < r.curve_cap <= spent and t.epoch > 1:
            return "time-capped", ""
        if folder is not None and not keep(folder, t):
            folder = None
        watcher.emit(record)
    if folder is not None and t.epoch < r.epochs:
        machine.keep(t, identity, folder)
    return "completed", ""


def keep(folder: Path, t: Trial) -> bool:
    """Write a checkpoint. Where there is no room for one the trial goes on without."""
    try:
        save(folder, t.state())
    except (OSError, RuntimeError) as e:
        # torch turns a failed write into a RuntimeError.
        code = errno.errorcode.get(getattr(e, "errno", 0) or 0, type(e).__name__)
        log(f"trial {t.request.trial}: no checkpoint after epoch {t.epoch} ({code}: {e}); going on without")
        return False
    return True
