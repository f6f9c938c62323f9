"""The worker as a process: requests by a pipe and by files."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SCRIPTS
from timm_worker import batch, training

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SCRIPTS), "OMP_NUM_THREADS": "1"}
COMMON = ["--scratch", "--image-size", "32", "--device", "cpu", "--threads", "1", "--heartbeat", "0"]


def request(trial: str, **change: Any) -> dict[str, Any]:
    config = {"batch_size": 8, "opt": "sgd", "linear_probing": True}
    asked = {
        "type": "request",
        "trial": trial,
        "model": "tf_efficientnet_lite0",
        "config": config,
        "dataset": "flowers",
    }
    return {**asked, "epochs": 1, "seed": 1, **change}


@contextmanager
def worker(*args: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "timm_worker", *args, *COMMON]
    p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        yield p
    finally:
        p.kill()
        p.wait()


def tell(p: subprocess.Popen[str], message: dict[str, Any]) -> None:
    assert p.stdin is not None
    p.stdin.write(json.dumps(message) + "\n")
    p.stdin.flush()


def hear(p: subprocess.Popen[str], *kinds: str) -> dict[str, Any]:
    """The next message of one of some types."""
    assert p.stdout is not None
    while line := p.stdout.readline():
        message = json.loads(line)
        if message["type"] in kinds:
            return dict(message)
    raise AssertionError(f"the worker ended without {kinds}")


def test_requests_by_a_pipe(flowers: Path) -> None:
    with worker("serve", "--data", str(flowers), "--grace", "20") as p:
        hello = hear(p, "hello")
        assert hello["protocol"] == 1 and hello["device"] == "cpu" and hello["pid"] == p.pid
        tell(p, request("one"))
        beat = hear(p, "heartbeat")
        assert beat["trial"] == "one"
        assert hear(p, "record")["epoch"] == 1
        assert hear(p, "end")["end"] == "completed"
        # A trial is cancelled at the next batch, and another begins.
        tell(p, request("two", epochs=10_000))
        hear(p, "record")
        start = time.monotonic()
        tell(p, {"type": "cancel", "trial": "two"})
        error = hear(p, "error")
        assert error["trial"] == "two" and error["reason"] == "stopped: cancelled"
        assert time.monotonic() - start < 20
        tell(p, {"type": "nonsense"})
        assert "not a request" in hear(p, "error")["reason"]
        tell(p, request("three"))
        assert hear(p, "end")["trial"] == "three"
        assert p.stdin is not None
        p.stdin.close()
        assert p.wait(timeout=60) == 0


def test_requests_by_files(flowers: Path, tmp_path: Path) -> None:
    results, tasks = tmp_path / "results", tmp_path / "tasks.jsonl"
    results.mkdir()
    trials = [{"request": request(f"t{i}", epochs=e), "result": f"t{i}"} for i, e in enumerate((1, 1, 10_000))]
    tasks.write_text("{}\n" + json.dumps({"trials": trials}) + "\n")
    done = {"type": "end", "trial": "t0", "end": "completed"}
    (results / "t0.1-0-0-n1-1.jsonl").write_text(json.dumps(done) + "\n")
    args = ("work", "--data", str(flowers), "--tasks", str(tasks), "--index", "1", "--results", str(results))
    with worker(*args) as p:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and '"epoch": 2' not in "".join(f.read_text() for f in results.glob("t2.*")):
            assert p.poll() is None
            time.sleep(0.1)
        p.send_signal(signal.SIGUSR1)
        assert p.wait(timeout=60) == 75
    assert len(list(results.glob("t0.*"))) == 1  # it had ended
    (one,) = results.glob("t1.*")
    lines = [json.loads(line) for line in one.read_text().splitlines()]
    assert (lines[0]["type"], lines[-1]["type"], lines[-1]["end"]) == ("hello", "end", "completed")
    (two,) = results.glob("t2.*")
    last = json.loads(two.read_text().splitlines()[-1])
    assert (last["type"], last["reason"]) == ("interrupted", "stopped: the time limit is near")


def test_a_full_disk_ends_the_task(machine: training.Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text(json.dumps({"trials": [{"request": request("t"), "result": "t"}]}) + "\n")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = [signal.getsignal(s) for s in (signal.SIGUSR1, signal.SIGTERM)]
    try:
        # The process ends, with nothing that could be taken for a result.
        with pytest.raises(OSError, match="No space left"):
            batch.work(machine, tasks, 0, tmp_path, heartbeat=0.0, grace=5.0)
    finally:
        for s, handler in zip((signal.SIGUSR1, signal.SIGTERM), before, strict=True):
            signal.signal(s, handler)
    assert not batch.ended(tmp_path, "t")


def test_the_doctor_says_what_works() -> None:
    out = subprocess.run(
        [
            sys.executable,
            "-m",
            "timm_worker",
            "doctor",
            "--scratch",
            "--model",
            "dla46x_c",
            "--image-size",
            "64",
            "--device",
            "cpu",
        ],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    checks = [json.loads(line) for line in out.splitlines()]
    assert [c["check"] for c in checks][-4:] == ["GPU", "device", "weights", "batch"]
    assert all(c["ok"] for c in checks)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_one_line(flowers: Path) -> None:
    command = [sys.executable, "-m", "timm_worker", "serve", "--data", str(flowers), "--device", "cuda"]
    done = subprocess.run(command, input="", capture_output=True, text=True, env=ENVIRONMENT, check=False)
    message = json.loads(done.stdout)
    assert done.returncode == 1 and message["type"] == "unfit" and "\n" not in message["reason"]
