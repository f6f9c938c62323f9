#!/usr/bin/env python3
"""Golden values of syne-tune's Gaussian process and of expected improvement, for packages internal/gp and baselines.

Writes internal/gp/testdata/matern.json (likelihood with gradient, priors and
posterior of the Matern-5/2 process with one length scale a column) and
baselines/testdata/expected_improvement.json (the closed form, and its logarithm
far in the tail with enough digits).

    python3 scripts/oracles/gaussian_process.py

Needs syne-tune[gpsearchers] 0.13.0 and mpmath.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import autograd
import autograd.numpy as anp
import mpmath
import numpy as np
from syne_tune.optimizer.schedulers.searchers.bayesopt.gpautograd.constants import NUMERICAL_JITTER
from syne_tune.optimizer.schedulers.searchers.bayesopt.gpautograd.distribution import Gamma, LogNormal, Normal
from syne_tune.optimizer.schedulers.searchers.bayesopt.gpautograd.kernel import Matern52
from syne_tune.optimizer.schedulers.searchers.bayesopt.gpautograd.likelihood import GaussianProcessMarginalLikelihood
from syne_tune.optimizer.schedulers.searchers.bayesopt.gpautograd.mean import ScalarMeanFunction
from syne_tune.optimizer.schedulers.searchers.bayesopt.models.meanstd_acqfunc_impl import get_quantiles

ROOT = Path(__file__).resolve().parent.parent.parent


def likelihood(x: Any, y: Any, p: Any) -> Any:
    """Negative log marginal likelihood with parameters (mean, noise, scale, inverse length scales), differentiable."""
    xs = x * p[3:]
    square = anp.sum(xs**2, axis=1)
    d2 = anp.abs(square[:, None] + square[None, :] - 2 * anp.dot(xs, xs.T))
    b = anp.sqrt(5 * d2 + NUMERICAL_JITTER)
    cov = p[2] * (1 + b + 5 * d2 / 3) * anp.exp(-b) + p[1] * anp.eye(len(y))
    r = y - p[0]
    return 0.5 * (anp.dot(r, anp.linalg.solve(cov, r)) + anp.linalg.slogdet(cov)[1] + len(y) * anp.log(2 * anp.pi))


def matern_case(rng: np.random.Generator, n: int, d: int, noise: float) -> dict[str, Any]:
    x, z, y = rng.uniform(size=(n, d)), rng.uniform(size=(6, d)), rng.normal(size=n)
    p = np.concatenate([[0.3, noise, 1.7], np.exp(rng.uniform(-2, 1.5, size=d))])
    mean, kernel = ScalarMeanFunction(), Matern52(d, ARD=True)
    model = GaussianProcessMarginalLikelihood(kernel=kernel, mean=mean)
    model.initialize(force_reinit=True)
    inverse = {"inv_bw": p[3]} if d == 1 else {f"inv_bw{k}": p[3 + k] for k in range(d)}
    kernel.set_params(inverse | {"covariance_scale": p[2]})
    mean.set_mean_value(p[0])
    model._set_noise_variance(noise)
    state = model.get_posterior_state({"features": x, "targets": y.reshape(-1, 1)})
    value = float(state.neg_log_likelihood())
    mu, var = state.predict(z)
    own = float(likelihood(x, y, p))
    assert abs(own - value) <= 1e-9 * abs(value), (own, value)
    prior = (
        float(Gamma(mean=0.1, alpha=0.1)(np.array([noise])))
        + float(LogNormal(0.0, 1.0)(np.array([p[2]])))
        + float(Normal(0.0, 1.0)(np.array([p[0]])))
    )
    return {
        "x": x.tolist(),
        "y": y.tolist(),
        "z": z.tolist(),
        "parameters": p.tolist(),
        "likelihood": value,
        "gradient": autograd.grad(lambda q: likelihood(x, y, q))(p).tolist(),
        "prior": prior,
        "mean": mu.flatten().tolist(),
        "variance": var.flatten().tolist(),
    }


def improvement(mean: float, std: float, best: float) -> dict[str, float]:
    """For scores that are maximised; syne-tune's acquisition minimises."""
    density, below, u = get_quantiles(0.0, -best, np.array([-mean]), np.array([std]))
    mpmath.mp.dps = 1000
    exact_std = mpmath.mpf(std)
    z = (mpmath.mpf(mean) - mpmath.mpf(best)) / exact_std
    exact = exact_std * (z * mpmath.erfc(-z / mpmath.sqrt(2)) / 2 + mpmath.npdf(z))
    closed = float((std * (u * below + density))[0])
    return {"mean": mean, "std": std, "best": best, "value": closed, "log": float(mpmath.log(exact))}


def main() -> None:
    rng = np.random.default_rng(5)
    cases = [matern_case(rng, *c) for c in ((1, 1, 0.1), (5, 1, 1e-3), (14, 3, 0.02), (40, 8, 1e-3))]
    out = ROOT / "internal" / "gp" / "testdata" / "matern.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
    points = [
        improvement(mean, std, 0.5)
        for std in (1.0, 0.1, 1e-3, 1e-8)
        for mean in (0.5 + s * std for s in (3.0, 1.0, 0.0, -1.0, -2.0, -3.9, -4.1, -6.0, -10.0, -30.0, -100.0, -1e3))
    ]
    out = ROOT / "baselines" / "testdata" / "expected_improvement.json"
    out.write_text(json.dumps(points, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
