"""Pictures at their full size, in the split that the plan was made with.

The program that plans describes a data set in a JSON file: where the pictures are, the
class of each, and the order of the split. The files themselves are found here again, by
the same rules, so that a node reads pictures and nothing else; a folder that is not what
it was is an error, never another data set.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms import Compose, TrivialAugmentWide

from .settings import Settings

FORMAT = "quicktune timm data set"
VERSION = 1

EXTENSIONS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")

# Files up to this much together are read once and kept.
KEEP_BYTES = 1 << 30


class DataError(Exception):
    """A data set that cannot be read, or is not the one that was planned."""


class Archive:
    """The files of a directory or of a zip archive, by their names with slashes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._pid = -1
        self._entries: dict[str, str] = {}
        if os.path.isdir(path):
            names = self._walk()
        else:
            try:
                with zipfile.ZipFile(path) as z:
                    self._entries = {_zip_name(i): i.filename for i in z.infolist() if not i.is_dir()}
            except (OSError, zipfile.BadZipFile) as e:
                raise DataError(f"{path}: {e}") from e
            names = list(self._entries)
        self.names = {n for n in names if not any(p.startswith(".") or p == "__MACOSX" for p in n.split("/"))}

    def _walk(self) -> list[str]:
        found = []
        for folder, _, files in os.walk(self.path, followlinks=True):
            inner = os.path.relpath(folder, self.path)
            if inner.count(os.sep) > 20:
                raise DataError(f"{self.path}: folders more than 20 deep, perhaps a ring of links")
            prefix = "" if inner == "." else inner.replace(os.sep, "/") + "/"
            found += [prefix + f for f in files]
        return found

    def read(self, name: str) -> bytes:
        """The bytes of a file. Each process opens the archive for itself."""
        if not self._entries:
            return Path(self.path, name).read_bytes()
        if self._zip is None or self._pid != os.getpid():
            self._zip, self._pid = zipfile.ZipFile(self.path), os.getpid()
        return self._zip.read(self._entries[name])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_zip": None}


def _zip_name(info: zipfile.ZipInfo) -> str:
    name = info.filename
    if not info.flag_bits & 0x800:
        raw = name.encode("cp437")
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            name = raw.decode("latin-1")
    return name.replace("\\", "/")


def _order(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _inside(names: set[str], folder: str) -> tuple[list[str], list[str]]:
    """The folders and the pictures directly in a folder ("" or ending in a slash)."""
    folders, pictures = set(), []
    for n in names:
        if not n.startswith(folder):
            continue
        head, slash, _ = n[len(folder) :].partition("/")
        if slash:
            folders.add(folder + head + "/")
        elif head.lower().endswith(EXTENSIONS):
            pictures.append(n)
    return sorted(folders, key=_order), sorted(pictures, key=_order)


def _below(names: set[str], folder: str) -> list[str]:
    folders, pictures = _inside(names, folder)
    for f in folders:
        pictures += _below({n for n in names if n.startswith(f)}, f)
    return pictures


def _unwrap(names: set[str]) -> str:
    """The folder that the data set is in, when there is one around it."""
    root = ""
    for _ in range(4):
        folders, pictures = _inside(names, root)
        if root + "labels.csv" in names or len(folders) != 1 or pictures:
            break
        inner = folders[0]
        if inner + "labels.csv" not in names and not _inside(names, inner)[0]:
            break
        root = inner
    return root


def find(archive: Archive) -> list[tuple[str, str]]:
    """Every picture with its class: class folders, or the Meta-Album layout."""
    root = _unwrap(archive.names)
    if root + "labels.csv" in archive.names:
        return _album(archive, root)
    found = []
    for folder in _inside(archive.names, root)[0]:
        label = folder[len(root) : -1]
        found += [(n, label) for n in _below(archive.names, folder)]
    return found


def _album(archive: Archive, root: str) -> list[tuple[str, str]]:
    file_column, class_column = "FILE_NAME", "CATEGORY"
    if root + "info.json" in archive.names:
        info = json.loads(archive.read(root + "info.json"))
        file_column = info.get("images_column_name") or file_column
        class_column = info.get("category_column_name") or class_column
    text = archive.read(root + "labels.csv").decode("utf-8-sig")
    rows = csv.DictReader(io.StringIO(text))
    try:
        found = [(f"{root}images/{r[file_column]}", r[class_column]) for r in rows]
    except KeyError as e:
        raise DataError(f"{archive.path}: labels.csv has no column {e}") from e
    return sorted(found, key=lambda f: _order(f[0]))


@dataclass(frozen=True)
class Description:
    """What the planning program says of a data set."""

    name: str
    path: str
    classes: list[str]
    symmetric: bool
    labels: list[int]  # of every picture, in the order of their files
    order: list[int]  # of the split: validation, test, training
    validation: int
    test: int

    @staticmethod
    def load(file: Path) -> Description:
        """Read a description."""
        try:
            d = json.loads(file.read_text(encoding="utf-8"))
            if d["format"] != FORMAT or d["version"] != VERSION:
                raise DataError(f"{file}: format {d['format']!r}, version {d['version']}; this worker knows {VERSION}")
            path = d["path"] if os.path.isabs(d["path"]) else str(file.parent / d["path"])
            return Description(
                d["name"], path, d["classes"], d["symmetric"], d["labels"], d["order"], d["validation"], d["test"]
            )
        except (OSError, KeyError, ValueError) as e:
            raise DataError(f"{file}: {e}") from e


@dataclass(frozen=True)
class Pictures:
    """A part of a data set: files with their classes."""

    archive: Archive
    files: list[str]
    labels: list[int]
    kept: dict[str, bytes]

    def open(self, i: int) -> Image.Image:
        """Picture i."""
        name = self.files[i]
        data = self.kept.get(name)
        return decode(self.archive.read(name) if data is None else data)


def decode(data: bytes) -> Image.Image:
    """A picture in colour, on white where it is transparent."""
    picture = Image.open(io.BytesIO(data))
    picture.load()
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        flat = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(flat, picture)
    return picture.convert("RGB")


@dataclass(frozen=True)
class Images:
    """A data set ready for training."""

    name: str
    classes: int
    symmetric: bool
    train: Pictures
    validation: Pictures
    test: Pictures


def load(description: Description) -> Images:
    """Find the pictures of a description and check that they are the planned ones."""
    if not os.path.exists(description.path):
        raise DataError(f"data set {description.name}: {description.path} is not there; nodes need the same path to it")
    archive = Archive(description.path)
    found = find(archive)
    if len(found) != len(description.labels):
        found = [f for f in found if _readable(archive, f[0])]
    index = {name: i for i, name in enumerate(description.classes)}
    labels = [index.get(label, -1) for _, label in found]
    if labels != description.labels:
        raise DataError(
            f"data set {description.name}: {len(found)} pictures in {description.path} are not the "
            f"{len(description.labels)} of the plan: put the old pictures back, or begin a new sweep"
        )
    files = [f for f, _ in found]
    kept: dict[str, bytes] = {}
    if _size(archive, files) <= KEEP_BYTES:
        kept = {f: archive.read(f) for f in files}

    def part(order: Sequence[int]) -> Pictures:
        return Pictures(archive, [files[i] for i in order], [labels[i] for i in order], kept)

    v, t = description.validation, description.validation + description.test
    order = description.order
    return Images(
        description.name,
        len(description.classes),
        description.symmetric,
        validation=part(order[:v]),
        test=part(order[v:t]),
        train=part(order[t:]),
    )


def _readable(archive: Archive, name: str) -> bool:
    try:
        decode(archive.read(name))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return True


def _size(archive: Archive, files: Sequence[str]) -> int:
    if os.path.isdir(archive.path):
        return sum(os.path.getsize(os.path.join(archive.path, f)) for f in files)
    return os.path.getsize(archive.path)


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Draw from a stream of its own, and leave the others' generators alone."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


class _Augmented(Dataset):
    """Training pictures, by (seed, index): the same pair gives the same tensor."""

    def __init__(self, pictures: Pictures, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.pictures, self.transform = pictures, transform

    def __len__(self) -> int:
        return len(self.pictures.files)

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, int]:
        seed, i = key
        with drawing((seed * 1_000_003 + i) % (1 << 63)):
            return self.transform(self.pictures.open(i)), self.pictures.labels[i]


class _Plain(Dataset):
    """Pictures as they are."""

    def __init__(self, pictures: Pictures, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.pictures, self.transform = pictures, transform

    def __len__(self) -> int:
        return len(self.pictures.files)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pictures.open(i)), self.pictures.labels[i]


class Shuffled(Sampler):
    """Batches of (seed, index) in the order of the epoch's seed.

    A last batch that is not full is left out, as timm's loader does, unless it is the
    only one. `even` makes that one even, which timm's Mixup asks for.
    """

    def __init__(self, n: int, batch: int, even: bool) -> None:
        self.n, self.batch, self.even = n, batch, even
        self.seed = 0

    def sizes(self) -> list[int]:
        """The sizes of the batches."""
        if self.n < self.batch:
            only = self.n - self.n % 2 if self.even else self.n
            return [only] if only else []
        only = self.batch - self.batch % 2 if self.even else self.batch
        return [only] * (self.n // self.batch) if only else []

    def __len__(self) -> int:
        return len(self.sizes())

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng(self.seed).permutation(self.n).tolist()
        at = 0
        for size in self.sizes():
            yield [(self.seed, i) for i in order[at : at + size]]
            at += size


def _policy(settings: Settings) -> str | None:
    """The augmentation in timm's words; TrivialAugment comes from torchvision."""
    if settings.data_augmentation == "auto_augment":
        return settings.auto_augment
    if settings.data_augmentation == "random_augment":
        return f"rand-m{settings.ra_magnitude}-n{settings.ra_num_ops}"
    return None


def training_transform(
    settings: Settings, symmetric: bool, config: dict[str, Any]
) -> Callable[[Image.Image], torch.Tensor]:
    """timm's training transform with the released code's defaults: crops of 8 to 100 %,
    half of the pictures mirrored, colour jitter 0.4 where no policy replaces it."""
    trivial = settings.data_augmentation == "trivial_augment"
    parts = create_transform(
        input_size=config["input_size"],
        is_training=True,
        scale=(0.08, 1.0),
        hflip=0.5 if symmetric else 0.0,
        color_jitter=None if trivial else 0.4,
        auto_augment=_policy(settings),
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        separate=True,
    )
    if trivial:
        parts = (parts[0], TrivialAugmentWide(), *parts[1:])
    return Compose(list(parts))


def evaluation_transform(config: dict[str, Any]) -> Callable[[Image.Image], torch.Tensor]:
    """timm's transform for evaluation of a model."""
    return create_transform(
        input_size=config["input_size"],
        is_training=False,
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        crop_pct=config["crop_pct"],
    )


def training_loader(
    images: Images, settings: Settings, config: dict[str, Any], workers: int, pin: bool
) -> tuple[DataLoader, Shuffled]:
    """The loader of training batches and its sampler, whose seed is set each epoch."""
    sampler = Shuffled(len(images.train.files), settings.batch_size, settings.mixes)
    data = _Augmented(images.train, training_transform(settings, images.symmetric, config))
    loader = DataLoader(
        data, batch_sampler=sampler, num_workers=workers, pin_memory=pin, persistent_workers=workers > 0
    )
    return loader, sampler


def evaluation_loader(pictures: Pictures, config: dict[str, Any], batch: int, workers: int, pin: bool) -> DataLoader:
    """The loader of pictures as they are, in order."""
    return DataLoader(
        _Plain(pictures, evaluation_transform(config)),
        batch_size=batch,
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=workers > 0,
    )
