"""A trained network as one file: for timm (safetensors, .pth), or for any runtime (ONNX).

What is exported is the plain timm model with its new head, in evaluation mode. It takes
pictures as timm's evaluation transform makes them, [n, 3, height, width], and gives
logits, [n, classes]. Every format carries the name of the model, the classes and that
transform, each as a text: safetensors and ONNX in their metadata, .pth beside "state_dict".
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from .trained import Trained, load

# Of ONNX: the highest that torch 1.13 writes, and one in which more can be said.
OPSET = 18 if int(torch.__version__.split(".")[0]) > 1 else 16

# How far an ONNX file may be from torch, relative to logits above one.
TOLERANCE = 1e-4


class ExportError(Exception):
    """A network that cannot be written."""


def write_safetensors(t: Trained, out: Path) -> str:
    """Weights by timm's names."""
    state = {k: v.contiguous().clone() for k, v in t.model.state_dict().items()}
    out.write_bytes(save(state, metadata={"format": "pt", **t.texts()}))
    return ""


def write_pth(t: Trained, out: Path) -> str:
    """What timm.create_model(..., checkpoint_path=...) reads."""
    torch.save({"state_dict": t.model.state_dict(), **t.texts()}, out)
    return ""


def write_onnx(t: Trained, out: Path) -> str:
    """The network as a graph, for any number of pictures."""
    pictures = torch.randn(2, *t.config["input_size"], generator=torch.Generator().manual_seed(1))
    options: dict[str, Any] = {}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False  # the other exporter needs more packages
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that the trace takes for constant: so they are
            torch.onnx.export(
                t.model,
                pictures,
                str(out),
                input_names=["pictures"],
                output_names=["logits"],
                dynamic_axes={"pictures": {0: "n"}, "logits": {0: "n"}},
                opset_version=OPSET,
                **options,
            )
    except Exception as e:  # torch raises many kinds for what it cannot write
        text = " ".join(str(e).split())[:300]
        if "onnx" in text and "installed" in text:
            raise ExportError(f"this torch writes no ONNX without the package onnx: pip install onnx ({text})") from e
        raise ExportError(f"torch {torch.__version__} cannot write {t.name} as ONNX: {text}") from e
    with out.open("ab") as f:
        f.write(_properties(t.texts()))
    return _check(t, out)


def _properties(texts: Mapping[str, str]) -> bytes:
    """The field metadata_props of ONNX's ModelProto, number 14, pairs of key and value. Where
    protocol buffers are put one behind the other, a repeated field has the entries of both."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2]) + _varint(len(content)) + content

    return b"".join(field(14, field(1, k.encode()) + field(2, v.encode())) for k, v in texts.items())


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def _check(t: Trained, file: Path) -> str:
    """Read the file again and compare. Says how far off it is."""
    try:
        import onnxruntime
    except ImportError:
        return "not compared with torch: onnxruntime is not installed"
    # Another number of pictures than it was traced with.
    pictures = torch.randn(3, *t.config["input_size"], generator=torch.Generator().manual_seed(2))
    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        got = torch.from_numpy(session.run(None, {"pictures": pictures.numpy()})[0])
    except Exception as e:
        raise ExportError(f"{t.name} as ONNX cannot be run: {' '.join(str(e).split())[:300]}") from e
    with torch.no_grad():
        want = t.model(pictures)
    off = float(((got - want).abs() / want.abs().clamp(min=1)).max())
    if not off <= TOLERANCE:
        raise ExportError(f"{t.name} as ONNX differs from torch by {off:.2g}")
    return f"differs from torch by at most {off:.1g}"


FORMATS: dict[str, Callable[[Trained, Path], str]] = {
    "onnx": write_onnx,
    "pth": write_pth,
    "safetensors": write_safetensors,
}


def export(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write the file that a request asks for, whole or not at all."""
    kind, out = str(request["format"]), Path(request["out"])
    if kind not in FORMATS:
        raise ExportError(f"format {kind}: want {', '.join(FORMATS)}")
    t = load(request)
    temporary = out.with_name(f".{out.name}.tmp-{os.getpid()}")
    try:
        note = FORMATS[kind](t, temporary)
        with temporary.open("rb") as f:
            os.fsync(f.fileno())
        temporary.replace(out)
    except (OSError, RuntimeError) as e:  # torch turns a failed write into a RuntimeError
        raise ExportError(f"{out} cannot be written: {' '.join(str(e).split())[:300]}") from e
    finally:
        temporary.unlink(missing_ok=True)
    return {"type": "exported", "model": t.name, "input": list(t.config["input_size"]), "note": note}
