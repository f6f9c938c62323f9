"""Requests by a file: what an array task of a batch system works on.

Each line of the task file is one array task: a JSON object with its requests and the
stems of their result files. A result file has the messages of one try of one trial,
each line written whole and brought to the disk; its name ends in what tells this try
from every other, so two copies of a task never write to the same file. A trial that has
a result with an end is not trained again.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import IO

from . import training
from .serve import Beat, Lines, Stop, hello
from .training import Machine, Message, Watcher

# The exit status of a task that was asked to stop.
EXIT_INTERRUPTED = 75


class Durable:
    """A text file whose lines are on the disk when write returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: IO[str] = path.open("x", encoding="utf-8")

    def write(self, text: str) -> None:
        """Write a line."""
        self.file.write(text)

    def flush(self) -> None:
        """Bring it to the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())


def attempt() -> str:
    """What tells this try from every other, in letters that suit a file name."""
    e = os.environ
    job = e.get("SLURM_ARRAY_JOB_ID", e.get("SLURM_JOB_ID", "0"))
    task, restart = e.get("SLURM_ARRAY_TASK_ID", "0"), e.get("SLURM_RESTART_COUNT", "0")
    host = "".join(c if c.isalnum() else "-" for c in e.get("SLURMD_NODENAME", socket.gethostname()))
    return f"{job}-{task}-{restart}-{host}-{os.getpid()}"


def ended(results: Path, stem: str) -> bool:
    """Whether a result of the trial has an end."""
    for file in results.glob(f"{stem}.*.jsonl"):
        try:
            last = file.read_bytes().rstrip(b"\n").rsplit(b"\n", 1)[-1]
            if json.loads(last).get("type") == "end":
                return True
        except (OSError, ValueError, AttributeError):
            continue
    return False


def work(machine: Machine, tasks: Path, index: int, results: Path, *, heartbeat: float, grace: float) -> int:
    """Work on one array task. Returns the exit status."""
    with tasks.open(encoding="utf-8") as f:
        task = json.loads(next(line for i, line in enumerate(f) if i == index))
    stop = Stop(grace)
    signal.signal(signal.SIGUSR1, lambda *_: stop.ask("the time limit is near"))
    signal.signal(signal.SIGTERM, lambda *_: stop.ask("terminated"))
    for item in task["trials"]:
        stem, request = item["result"], item["request"]
        if stop.reason or ended(results, stem):
            continue
        file = Durable(results / f"{stem}.{attempt()}.jsonl")
        lines = Lines(file)  # type: ignore[arg-type]
        greeting = hello(machine)
        lines({**greeting, "trial": request["trial"]})

        def emit(message: Message, lines: Lines = lines) -> None:
            # A trial that was stopped is not to blame.
            if message["type"] == "error" and stop.reason:
                message = {**message, "type": "interrupted"}
            lines(message)

        beat = Beat(emit, heartbeat)
        beat.trial = request["trial"]
        try:
            training.run(request, machine, Watcher(emit=emit, beat=beat, stopped=lambda: stop.reason))
        except OSError:
            raise  # nothing can be told where results cannot be written
        except Exception as e:
            emit(
                {
                    "type": "error",
                    "trial": request["trial"],
                    "reason": f"{type(e).__name__}: {' '.join(str(e).split())[:500]}",
                }
            )
            training.log(f"trial {request['trial']}: {e!r}")
    if stop.reason:
        stop.done()
        return EXIT_INTERRUPTED
    return 0
