#!/usr/bin/env python3
"""Golden values of linearised training for package predictor/traintime.

Writes predictor/traintime/testdata/dynamics.json: a random linear model with
several outputs, trained in the space of its weights by the update rule of
torch.optim.SGD, by gradient flow (scipy's LSODA and matrix exponentials), and
the covariance of mini-batch noise from the covariance of weight gradients. The
package computes the same in function space and never sees these weights.

    python3 scripts/oracles/traintime.py

Needs numpy and scipy.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.linalg import expm

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / "predictor" / "traintime" / "testdata" / "dynamics.json"
Floats = NDArray[np.float64]
STEPS = 60


class Model:
    """f(w) = f0 + J (w - w0) on N samples with C outputs."""

    def __init__(self, rng: np.random.Generator, samples: int, outputs: int, weights: int) -> None:
        self.n, self.c, self.p = samples, outputs, weights
        self.jacobian: Floats = rng.standard_normal((samples * outputs, weights)) / math.sqrt(weights)
        self.w0: Floats = rng.standard_normal(weights)
        self.f0: Floats = rng.standard_normal(samples * outputs) / 2
        self.labels = rng.integers(0, outputs, samples)
        self.y: Floats = np.eye(outputs)[self.labels].ravel()

    def outputs(self, w: Floats) -> Floats:
        return np.asarray(self.f0 + self.jacobian @ (w - self.w0))

    def loss(self, f: Floats, kind: str) -> float:
        if kind == "mse":
            return float(0.5 * np.sum((f - self.y) ** 2) / self.n)
        z = f.reshape(self.n, self.c)
        top = z.max(axis=1, keepdims=True)
        log_sum = top[:, 0] + np.log(np.exp(z - top).sum(axis=1))
        return float(np.mean(log_sum - z[np.arange(self.n), self.labels]))

    def residual(self, f: Floats, kind: str) -> Floats:
        """The derivative of each sample's loss by its outputs."""
        if kind == "mse":
            return np.asarray(f - self.y)
        z = f.reshape(self.n, self.c)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray((e / e.sum(axis=1, keepdims=True)).ravel() - self.y)

    def gradient(self, w: Floats, kind: str) -> Floats:
        return np.asarray(self.jacobian.T @ self.residual(self.outputs(w), kind) / self.n)


def descend(m: Model, kind: str, rule: dict[str, Any]) -> list[float]:
    """Losses before each of the steps of torch.optim.SGD and after the last."""
    momentum, decay = rule["momentum"], rule["decay"]
    w, u = m.w0.copy(), np.zeros(m.p)
    losses = [m.loss(m.outputs(w), kind)]
    for t in range(STEPS):
        d = m.gradient(w, kind) + decay * w
        u = momentum * u + d
        factor = (1 + math.cos(math.pi * t / STEPS)) / 2 if rule["cosine"] else 1.0
        w = w - rule["rate"] * factor * (d + momentum * u if rule["nesterov"] else u)
        losses.append(m.loss(m.outputs(w), kind))
    return losses


def flow(m: Model, kind: str, rate: float, decay: float) -> list[float]:
    """Losses of dw/dt = -rate (gradient + decay w) at whole t."""
    times = np.arange(STEPS + 1, dtype=float)
    if kind == "mse":
        # Affine in w: one matrix exponential of the homogeneous form.
        hessian = m.jacobian.T @ m.jacobian / m.n + decay * np.eye(m.p)
        constant = m.jacobian.T @ (m.f0 - m.jacobian @ m.w0 - m.y) / m.n
        generator = np.zeros((m.p + 1, m.p + 1))
        generator[:-1, :-1], generator[:-1, -1] = -rate * hessian, -rate * constant
        start = np.append(m.w0, 1.0)
        return [m.loss(m.outputs((expm(generator * t) @ start)[:-1]), kind) for t in times]
    solution = solve_ivp(
        lambda _, w: -rate * (m.gradient(w, kind) + decay * w),
        (0.0, float(STEPS)),
        m.w0,
        method="LSODA",
        t_eval=times,
        rtol=1e-12,
        atol=1e-13,
    )
    return [m.loss(m.outputs(w), kind) for w in solution.y.T]


def noise(m: Model, kind: str) -> list[float]:
    """J Sigma J' at the start, flattened."""
    r = m.residual(m.f0, kind)
    gradients = np.stack([m.jacobian[i * m.c : (i + 1) * m.c].T @ r[i * m.c : (i + 1) * m.c] for i in range(m.n)])
    centred = gradients - gradients.mean(axis=0)
    sigma = centred.T @ centred / m.n
    return [float(x) for x in (m.jacobian @ sigma @ m.jacobian.T).ravel()]


def main() -> None:
    m = Model(np.random.default_rng(20081247), 7, 3, 19)
    rules: list[dict[str, Any]] = [
        {"name": "plain", "rate": 0.8, "momentum": 0.0, "nesterov": False, "decay": 0.0, "cosine": False},
        {"name": "momentum", "rate": 0.3, "momentum": 0.9, "nesterov": False, "decay": 0.0, "cosine": False},
        {"name": "nesterov", "rate": 0.3, "momentum": 0.8, "nesterov": True, "decay": 0.0, "cosine": True},
        {"name": "decay", "rate": 0.7, "momentum": 0.0, "nesterov": False, "decay": 0.05, "cosine": True},
        {"name": "everything", "rate": 0.25, "momentum": 0.85, "nesterov": True, "decay": 0.03, "cosine": True},
    ]
    cases: list[dict[str, Any]] = []
    for kind in ("mse", "ce"):
        for rule in rules:
            losses = descend(m, kind, rule)
            cases.append({"loss": kind, "dynamics": "discrete", **rule, "losses": losses})
        for decay in (0.0, 0.05):
            losses = flow(m, kind, 0.8, decay)
            rule = {"name": "flow", "rate": 0.8, "momentum": 0.0, "nesterov": False, "decay": decay, "cosine": False}
            cases.append({"loss": kind, "dynamics": "flow", **rule, "losses": losses})
    data = {
        "made_by": "scripts/oracles/traintime.py",
        "samples": m.n,
        "outputs": m.c,
        "weights": m.p,
        "labels": m.labels.tolist(),
        "jacobian": m.jacobian.ravel().tolist(),
        "w0": m.w0.tolist(),
        "f0": m.f0.tolist(),
        "cases": cases,
        "noise": {kind: noise(m, kind) for kind in ("mse", "ce")},
    }
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(data) + "\n")


if __name__ == "__main__":
    main()
