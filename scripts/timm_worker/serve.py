"""Requests by a pipe: one line in, many lines out, until standard input ends."""

from __future__ import annotations

import json
import os
import platform
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any

import timm
import torch

from . import PROTOCOL, data, training
from .model import ModelError
from .predict import confusion
from .trained import CheckpointError
from .training import Machine, Message, Watcher

# How the process ends when it had to be hard: EX_TEMPFAIL, try again.
EXIT_HARD = 75


class Lines:
    """Messages, one a line, to a file that nothing else writes to."""

    def __init__(self, to: IO[str]) -> None:
        self.to = to
        self.lock = threading.Lock()

    def __call__(self, message: Message) -> None:
        text = json.dumps(_known(message), allow_nan=False)
        with self.lock:
            self.to.write(text + "\n")
            self.to.flush()


def _known(message: Message) -> Message:
    """Leave out numbers that are not finite: JSON has none."""
    return {k: v for k, v in message.items() if not (isinstance(v, float) and v - v != 0)}


def hello(machine: Machine) -> Message:
    """What the worker is, after it has touched its device."""
    device = machine.device
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        torch.zeros(1, device=device)
        name = torch.cuda.get_device_name(device)
    return {
        "type": "hello",
        "protocol": PROTOCOL,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "device": str(device),
        "device_name": name,
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }


class Stop:
    """The wish to stop, and the promise that it happens within a grace period."""

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.reason = ""
        self._timer: threading.Timer | None = None

    def ask(self, reason: str) -> None:
        """Stop at the next batch; end the process if that takes too long."""
        self.reason = self.reason or reason
        if self._timer is None:
            self._timer = threading.Timer(self.grace, self._hard)
            self._timer.daemon = True
            self._timer.start()

    def _hard(self) -> None:
        training.log(f"did not stop within {self.grace:g} s ({self.reason}); leaving")
        os._exit(EXIT_HARD)

    def done(self) -> None:
        """Stopped: the next request may begin."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self.reason = None, ""


class Beat:
    """Heartbeats, not more often than the interval. They come from between two batches, so
    that a worker whose computation hangs is silent."""

    def __init__(self, emit: Callable[[Message], None], interval: float) -> None:
        self.emit, self.interval = emit, interval
        self.trial = ""
        self.last = 0.0

    def __call__(self, what: str) -> None:
        now = time.monotonic()
        if now - self.last >= self.interval:
            self.last = now
            self.emit({"type": "heartbeat", "trial": self.trial, "doing": what})


def serve(machine: Machine, out: IO[str], heartbeat: float, grace: float) -> None:
    """Work on requests until standard input ends."""
    emit = Lines(out)
    emit(hello(machine))
    requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
    stop, ending = Stop(grace), threading.Event()
    current = ""

    def leave(reason: str) -> None:
        ending.set()
        stop.ask(reason)
        requests.put(None)

    def listen() -> None:
        for line in sys.stdin:
            if not line.strip():
                continue
            try:
                message = json.loads(line)
                kind = message.get("type")
            except (ValueError, AttributeError):
                kind, message = "", {}
            if kind in ("request", "confusion"):
                requests.put(message)
            elif kind == "cancel":
                if message.get("trial") == current:
                    stop.ask("cancelled")
            else:
                emit(
                    {
                        "type": "error",
                        "trial": str(message.get("trial", "")),
                        "reason": f"not a request: {line.strip()[:200]}",
                    }
                )
        leave("standard input ended")

    signal.signal(signal.SIGTERM, lambda *_: leave("terminated"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program at the other end decides
    threading.Thread(target=listen, daemon=True).start()
    beat = Beat(emit, heartbeat)
    while (message := requests.get()) is not None and not ending.is_set():
        current = beat.trial = str(message.get("trial", ""))
        watcher = Watcher(emit=emit, beat=beat, stopped=lambda: stop.reason)
        try:
            if message["type"] == "confusion":
                emit(confusion(message, machine, watcher))
            else:
                training.run(message, machine, watcher)
        except (ValueError, KeyError, CheckpointError, ModelError, data.DataError, training.StoppedError) as e:
            emit({"type": "error", "trial": current, "reason": str(e)})
        current = ""
        if not ending.is_set():
            stop.done()
