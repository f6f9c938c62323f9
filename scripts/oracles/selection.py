#!/usr/bin/env python3
"""Golden values of model-selection scores for package selection, computed the long way.

Writes selection/testdata/oracle.json. Each case is a probe that both languages
draw from the same integer generator, so the file holds sizes and values only.
Every value comes from a route that shares nothing with the Go code: singular
value decompositions, pseudo-inverses, N x N kernels, generalised eigenvectors
and linear programmes in numpy, SciPy and scikit-learn.

    python3 scripts/oracles/selection.py

Needs numpy, scipy and scikit-learn 1.9.1, which the file was made with.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.stats
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass
class Case:
    """One probe: n images, d features of which `dependent` repeat others."""

    name: str
    n: int
    d: int
    classes: int
    dependent: int
    seed: int


CASES = [
    Case("more images", 60, 20, 4, 0, 1),
    Case("fewer images", 15, 40, 3, 0, 2),
    Case("dependent features", 80, 30, 5, 12, 3),
    Case("dependent images", 24, 40, 3, 36, 4),
]


class Uniform:
    """Knuth's 64-bit linear congruential generator, the top 53 bits of each state."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def __call__(self) -> float:
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 11) / 2**53


def draw(c: Case) -> tuple[Array, Labels]:
    """Rectified features, of which class y raises every y-th; the last `dependent`
    ones are sums of two others."""
    u = Uniform(c.seed)
    y = np.arange(c.n) % c.classes
    x = np.zeros((c.n, c.d))
    free = c.d - c.dependent
    for i in range(c.n):
        for j in range(free):
            x[i, j] = max(0.0, u() + u() + u() - 1 + (0.4 if j % c.classes == y[i] else 0.0))
    for k in range(c.dependent):
        x[:, free + k] = x[:, k % free] + x[:, (k + 1) % free]
    return x, y


def rank_of(s: Array, n: int, d: int) -> int:
    return int((s > 10 * max(n, d) * np.finfo(float).eps * s[0]).sum())


def logme(x: Array, y: Labels) -> float:
    """The fixed point run to the end; all D weights in the determinant."""
    n, d = x.shape
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    k = rank_of(s, n, d)
    u, sigma = u[:, :k], s[:k] ** 2
    total = 0.0
    for c in range(y.max() + 1):
        target = (y == c).astype(float)
        z = (u.T @ target) ** 2
        outside = target @ target - z.sum()
        alpha = beta = 1.0
        for _ in range(200):
            t = alpha / beta
            gamma = (sigma / (sigma + t)).sum()
            m2 = (sigma * z / (t + sigma) ** 2).sum()
            res2 = (z / (1 + sigma / t) ** 2).sum() + outside
            alpha, beta = gamma / (m2 + 1e-5), (n - gamma) / (res2 + 1e-5)
            if abs(alpha / beta - t) / t <= 1e-3:
                break
        logdet = np.log(alpha + beta * sigma).sum() + (d - k) * np.log(alpha)
        evidence = d * np.log(alpha) + n * np.log(beta) - logdet - beta * res2 - alpha * m2 - n * np.log(2 * np.pi)
        total += evidence / 2 / n
    return float(total / (y.max() + 1))


def between(x: Array, y: Labels) -> Array:
    g = np.zeros_like(x)
    for c in range(y.max() + 1):
        g[y == c] = x[y == c].mean(axis=0)
    return g


def h_score(x: Array, y: Labels) -> float:
    pinv = np.linalg.pinv(np.cov(x, rowvar=False), rcond=1e-11, hermitian=True)
    return float(np.trace(pinv @ np.cov(between(x, y), rowvar=False)))


def h_score_regularised(x: Array, y: Labels) -> float:
    covariance, alpha = ledoit_wolf(x)
    return float(np.trace(np.linalg.inv(covariance) @ np.cov(between(x, y), rowvar=False)) * (1 - alpha))


def coding_rate(x: Array) -> float:
    return float(0.5 * np.linalg.slogdet(np.eye(x.shape[1]) + x.T @ x / (len(x) * 1e-4))[1])


def transrate(x: Array, y: Labels) -> float:
    x = x - x.mean(axis=0)
    return coding_rate(x) - float(np.mean([coding_rate(x[y == c]) for c in range(y.max() + 1)]))


def lfc(x: Array, y: Labels, keep: Array | None = None) -> float:
    labels = np.where(y[:, None] == y[None, :], 1.0, -1.0)
    kernel = x @ x.T
    chosen = np.ones_like(kernel, dtype=bool) if keep is None else keep
    return float(np.corrcoef(kernel[chosen], labels[chosen])[0, 1])


def cka(x: Array, y: Labels) -> float:
    n = len(y)
    h = np.eye(n) - 1 / n
    a, b = h @ x @ x.T @ h, h @ (y[:, None] == y[None, :]).astype(float) @ h
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def components(x: Array, k: int) -> Array:
    return np.asarray(PCA(k, svd_solver="full").fit_transform(x), dtype=np.float64)


def gbc(x: Array, y: Labels, k: int, diagonal: bool) -> float:
    x = components(x, k)
    stats = []
    for c in range(y.max() + 1):
        v = np.maximum(x[y == c].var(axis=0), 1e-4)
        stats.append((x[y == c].mean(axis=0), v if diagonal else v.mean(keepdims=True)))
    score = 0.0
    for i, (m1, v1) in enumerate(stats):
        for j, (m2, v2) in enumerate(stats):
            if i != j:
                v = (v1 + v2) / 2
                distance = ((m1 - m2) ** 2 / v).sum() / 8
                distance += 0.5 * (np.log(v).sum() - 0.5 * np.log(v1).sum() - 0.5 * np.log(v2).sum())
                score -= np.exp(-distance)
    return float(score)


def dissimilarities(x: Array) -> Array:
    r = 1 - np.corrcoef(StandardScaler().fit_transform(x))
    return r[np.triu_indices(len(x), 1)]


def parc(x: Array, y: Labels, k: int) -> float:
    """Label dissimilarities are rounded: what is equal must tie. (The public code
    leaves the last bits of the correlations in, and ranks them.)"""
    labels = 1 - np.corrcoef(np.eye(y.max() + 1)[y])
    rounded = labels[np.triu_indices(len(y), 1)].round(9)
    return float(100 * scipy.stats.spearmanr(dissimilarities(components(x, k) if k else x), rounded)[0])


def sfda(x: Array, y: Labels) -> float:
    """With the published generalised eigenvectors."""
    x = x.copy()
    n, d = x.shape
    classes = y.max() + 1
    priors = np.bincount(y) / n

    def shrunk(s: Array, by: float) -> Array:
        return (1 - by) * s + by * np.trace(s) / d * np.eye(d)

    def fit(x: Array, shrinkage: float | None) -> tuple[Array, float]:
        means = np.array([x[y == c].mean(axis=0) for c in range(classes)])
        sw = sum(priors[c] * np.cov(x[y == c].T, bias=True) for c in range(classes))
        if shrinkage is None:
            v = sw.sum(axis=1)
            for _ in range(3):
                w = sw @ v / np.linalg.norm(sw @ v)
                v = sw @ w / np.linalg.norm(sw @ w)
            shrinkage = max(float(np.exp(-5 * (v @ sw @ w))), 1e-10)
        sw = shrunk(sw, shrinkage)
        _, vectors = scipy.linalg.eigh(shrunk(np.cov(x.T, bias=True), shrinkage) - sw, sw)
        coefficients = means @ vectors @ vectors.T
        scores = x @ coefficients.T - 0.5 * (means * coefficients).sum(axis=1) + np.log(priors)
        return scipy.special.softmax(scores, axis=1), shrinkage

    p, shrinkage = fit(x, None)
    p = scipy.special.softmax(p, axis=1)
    means = np.array([x[y == c].mean(axis=0) for c in range(classes)])
    for i in range(n):
        own = p[i, y[i]]
        x[i] = own * x[i] + (1 - own) * (means.sum(axis=0) - means[y[i]]) / (classes - 1)
    p, _ = fit(x, shrinkage)
    return float(p[np.arange(n), y].mean())


def generalisation(x: Array, y: Labels) -> float:
    kernel = x @ x.T
    kernel *= len(y) / np.trace(kernel)
    inverse = np.linalg.inv(kernel + 1e-3 * np.eye(len(y)))
    signs = [np.where(y == c, 1.0, -1.0) for c in range(y.max() + 1)]
    return float(-np.mean([s @ inverse @ s for s in signs]) / len(y))


def knn(x: Array, y: Labels, k: int) -> float:
    distance = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    right = 0
    for i, order in enumerate(np.argsort(distance, axis=1)):
        near = y[order[:k]]
        votes = np.bincount(near, minlength=y.max() + 1)
        right += next(c for c in near if votes[c] == votes.max()) == y[i]
    return float(right / len(y))


def domain_similarity(x: Array, y: Labels) -> float:
    """Source classes: the first three images, with weights 1, 2 and 3."""
    targets = np.array([x[y == c].mean(axis=0) for c in range(y.max() + 1)])
    supply, demand = np.array([1.0, 2, 3]) / 6, np.bincount(y) / len(y)
    cost = np.linalg.norm(x[:3, None] - targets[None], axis=2)
    rows = np.kron(np.eye(3), np.ones(len(targets)))
    columns = np.kron(np.ones(3), np.eye(len(targets)))
    moved = scipy.optimize.linprog(
        cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([supply, demand]), method="highs"
    )
    return float(np.exp(-0.01 * moved.fun))


def rsa(x: Array, y: Labels) -> float:
    """The reference network's features are the first four, squared, and the label."""
    reference = np.column_stack([x[:, :4] ** 2, y])
    return float(scipy.stats.spearmanr(dissimilarities(x), dissimilarities(reference))[0])


def values(x: Array, y: Labels) -> dict[str, float]:
    n = len(y)
    off = ~np.eye(n, dtype=bool)
    scores: dict[str, Callable[[], float]] = {
        "lfc": lambda: lfc(x, y),
        "lfc-centred": lambda: lfc(x - x.mean(axis=0), y),
        "lfc-offdiag": lambda: lfc(x, y, off),
        "lfc-cosine": lambda: lfc(x / np.linalg.norm(x, axis=1, keepdims=True), y),
        "cka": lambda: cka(x, y),
        "logme": lambda: logme(x, y),
        "h-score": lambda: h_score(x, y),
        "h-score-regularised": lambda: h_score_regularised(x, y),
        "transrate": lambda: transrate(x, y),
        "gbc": lambda: gbc(x, y, 3, False),
        "gbc-diagonal": lambda: gbc(x, y, 3, True),
        "parc": lambda: parc(x, y, 4),
        "parc-all": lambda: parc(x, y, 0),
        "generalisation": lambda: generalisation(x, y),
        "knn-1": lambda: knn(x, y, 1),
        "knn-5": lambda: knn(x, y, 5),
        "domain-similarity": lambda: domain_similarity(x, y),
        "rsa": lambda: rsa(x, y),
        "sfda": lambda: sfda(x, y),
    }
    return {name: f() for name, f in scores.items()}


def main() -> None:
    out = []
    for c in CASES:
        x, y = draw(c)
        out.append({**vars(c), "values": values(x, y)})
    path = Path(__file__).resolve().parents[2] / "selection" / "testdata" / "oracle.json"
    path.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
