"""Pictures are found by the rules of the planning program."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import describe
from PIL import Image
from timm_worker import data


def picture(colour: tuple[int, ...] = (200, 10, 10), mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, (8, 6), colour).save(out, "PNG")
    return out.getvalue()


def archive(path: Path, files: dict[str, bytes | str]) -> data.Archive:
    with zipfile.ZipFile(path, "w") as z:
        for name, content in files.items():
            z.writestr(name, content)
    return data.Archive(str(path))


def test_class_folders_in_the_order_of_their_names(tmp_path: Path) -> None:
    p = picture()
    files: dict[str, bytes | str] = {
        "set/b/2.png": p,
        "set/a/sub/1.PNG": p,
        "set/a/3.jpg": p,
        "set/a/.hidden.png": p,
        "set/a/notes.txt": "x",
    }
    files |= {"__MACOSX/set/a/3.jpg": p, "set/Z/é.png": p}
    found = data.find(archive(tmp_path / "x.zip", files))
    assert found == [("set/Z/é.png", "Z"), ("set/a/3.jpg", "a"), ("set/a/sub/1.PNG", "a"), ("set/b/2.png", "b")]
    for name, content in files.items():
        target = tmp_path / "folder" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    assert data.find(data.Archive(str(tmp_path / "folder"))) == found


def test_the_meta_album_layout(tmp_path: Path) -> None:
    info = json.dumps({"images_column_name": "FILE", "category_column_name": "KIND"})
    labels = "\ufeffFILE,KIND,SOURCE\nz.png,dog,x\na.png,cat,y\n"
    files: dict[str, bytes | str] = {
        "images/a.png": picture(),
        "images/z.png": picture(),
        "labels.csv": labels,
        "info.json": info,
    }
    assert data.find(archive(tmp_path / "x.zip", files)) == [("images/a.png", "cat"), ("images/z.png", "dog")]


def test_transparent_pictures_are_drawn_on_white(tmp_path: Path) -> None:
    a = archive(tmp_path / "x.zip", {"a/1.png": picture((0, 0, 0, 0), "RGBA")})
    opened = data.Pictures(a, ["a/1.png"], [0], {}).open(0)
    assert opened.mode == "RGB" and np.asarray(opened).min() == 255


def test_other_pictures_than_the_planned_ones_are_refused(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"{c}/{i}.png": picture() for c in "ab" for i in range(5)}
    archive(tmp_path / "x.zip", files)
    describe(tmp_path, tmp_path / "x.zip", "x")
    described = data.Description.load(tmp_path / "x.json")
    images = data.load(described)
    sizes = [len(p.files) for p in (images.train, images.validation, images.test)]
    assert sizes == [6, 2, 2] and images.classes == 2
    # A broken picture was left out of the plan, and is here.
    archive(tmp_path / "x.zip", {**files, "a/broken.png": "no picture"})
    assert len(data.load(described).train.files) == 6
    archive(tmp_path / "x.zip", {**files, "a/9.png": picture()})
    with pytest.raises(data.DataError, match=r"11 pictures .* are not the 10 of the plan"):
        data.load(described)
    (tmp_path / "x.zip").unlink()
    with pytest.raises(data.DataError, match="is not there"):
        data.load(described)


def test_batches_are_full_unless_there_is_only_one() -> None:
    assert data.Shuffled(20, 8, even=False).sizes() == [8, 8]
    assert data.Shuffled(5, 8, even=False).sizes() == [5]
    assert data.Shuffled(5, 8, even=True).sizes() == [4]
    assert data.Shuffled(9, 3, even=True).sizes() == [2, 2, 2]
    assert data.Shuffled(9, 1, even=True).sizes() == []
