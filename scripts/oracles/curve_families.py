#!/usr/bin/env python3
"""Golden values of Domhan et al.'s curve families and of their posterior for package baselines.

Writes baselines/testdata/curve_families.json: each family's curve by the
formula of pylearningcurvepredictor (pylrpredictor/curvefunctions.py) at
parameters that the Go code reaches through its own parametrisation, and the
evidence, mean and variance of one member of a family by numerical integration
over the parameters that the Go code integrates in closed form.

    python3 scripts/oracles/curve_families.py

Needs numpy and scipy.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import dblquad, quad

OUT = Path(__file__).resolve().parents[2] / "baselines" / "testdata" / "curve_families.json"
X = np.arange(1.0, 13.0)
Array = NDArray[np.float64]


def families() -> list[dict[str, Any]]:
    """Name, nonlinear parameters p and q, constant and factor of the shape, curve."""
    log, exp = np.log, np.exp
    cases: list[tuple[str, float, float, float, float, Array]] = []
    c, a, alpha = 0.8, 0.6, 0.7
    cases.append(("pow3", alpha, 0, c, -a, c - a * X**-alpha))
    b = 2.0
    cases.append(("pow4", alpha, b / a, c, -((a + b) ** -alpha), c - (a * X + b) ** -alpha))
    a, b = 0.3, 1.2
    cases.append(("loglog_linear", b / a, 0, 0, math.log(a), log(a * log(X) + b)))
    theta, eta, kappa = 0.7, 1.3, 4.0
    cases.append(("dr_hill_zero_background", kappa, eta, 0, theta, theta * X**eta / (kappa**eta + X**eta)))
    a, b, c = 0.9, 1.1, -0.8
    cases.append(("log_power", math.exp(b), c, 0, a, a / (1 + (X / exp(b)) ** c)))
    alpha, beta, kappa, delta = 0.85, 0.2, 0.3, 1.1
    rise = alpha - beta
    cases.append(("mmf", kappa, delta, alpha, -rise, alpha - rise / (1 + (kappa * X) ** delta)))
    cases.append(("janoschek", kappa, delta, alpha, -rise, alpha - rise * exp(-kappa * X**delta)))
    cases.append(("weibull", kappa, delta, alpha, -rise, alpha - rise * exp(-((kappa * X) ** delta))))
    c, a, b, alpha = 0.75, 0.4, -0.5, 0.9
    cases.append(("exp4", a, alpha, c, -math.exp(b), c - exp(-a * X**alpha + b)))
    c, a = 0.9, 0.3
    cases.append(("ilog2", 0, 0, c, -a, c - a / log(1 + X)))
    a, b, c = -0.9, -1.5, 0.1
    cases.append(("vap", b, c, 0, math.exp(a), exp(a + b / X + c * log(X))))
    return [
        {"name": n, "p": p, "q": q, "constant": k, "factor": f, "curve": curve.tolist()}
        for n, p, q, k, f, curve in cases
    ]


def normal(x: float, mean: float, std: float) -> float:
    return math.exp(-(((x - mean) / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi))


def posterior(asymptote: bool, shape: Array, y: Array, noise: float, at: float) -> dict[str, Any]:
    """Weights of epochs as in the source: 10^(k/n), with mean 1."""
    w = 10 ** (np.arange(len(y)) / len(y))
    w *= len(y) / w.sum()

    def likelihood(curve: Array) -> float:
        squares = float((w * (y - curve) ** 2).sum())
        return math.exp(-squares / (2 * noise**2) - len(y) * math.log(noise * math.sqrt(2 * math.pi)))

    def moment(power: int) -> float:
        if asymptote:

            def both(b: float, a: float) -> float:
                prior = normal(a, 0.5, 0.5) * normal(b, 0, 1)
                return (a + b * at) ** power * prior * likelihood(a + b * shape)

            return float(dblquad(both, -1.5, 2.5, -3, 3, epsabs=0, epsrel=1e-8)[0])

        def factor(a: float) -> float:
            return (a * at) ** power * normal(a, 0.5, 0.5) * likelihood(a * shape)

        return float(quad(factor, -2, 3, epsrel=1e-10, limit=200)[0])

    evidence = moment(0)
    mean = moment(1) / evidence
    return {
        "asymptote": asymptote,
        "shape": shape.tolist(),
        "y": y.tolist(),
        "noise": noise,
        "at": at,
        "evidence": math.log(evidence),
        "mean": mean,
        "variance": moment(2) / evidence - mean**2 + noise**2,
    }


def main() -> None:
    rng = np.random.default_rng(3)
    posteriors = []
    for asymptote in (True, False):
        for n, noise in ((3, 0.1), (6, 0.1)):
            shape = X[:n] ** -0.7 if asymptote else 1 / (1 + 3 / X[:n])
            y = (0.7 - 0.4 * shape if asymptote else 0.7 * shape) + rng.normal(0, 0.05, n)
            at = 30**-0.7 if asymptote else 1 / (1 + 3 / 30)
            posteriors.append(posterior(asymptote, shape, y, noise, at))
    OUT.write_text(json.dumps({"families": families(), "posteriors": posteriors}) + "\n")


if __name__ == "__main__":
    main()
