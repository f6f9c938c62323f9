#!/usr/bin/env python3
"""Golden values of DyHPO's deep kernel for package baselines, from torch and gpytorch.

The network is the one that the paper and its public implementation describe,
written with torch's own layers; the process, its likelihood and its posterior
are gpytorch's; everything is float64. Weights come from a formula that the test
repeats. The file holds the rows, a part of the first gradient, the losses of 25
steps of Adam, and means and deviations of predictions after them.

    python3 scripts/oracles/dyhpo.py

Writes baselines/testdata/dyhpo.json. Needs torch 2.15.0 and gpytorch 1.15.2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gpytorch
import torch
from torch import Tensor, nn

OUT = Path(__file__).resolve().parent.parent.parent / "baselines" / "testdata" / "dyhpo.json"
INPUTS, MAX_EPOCHS, STEPS = 3, 10, 25


class Features(nn.Module):
    """Configuration and budget, batch-normalised, beside a global maximum of a convolved curve."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(INPUTS + 1, 64)
        self.bn1 = nn.BatchNorm1d(64)
        self.fc2 = nn.Linear(64 + 4, 128)
        self.cnn = nn.Sequential(nn.Conv1d(1, 4, 3), nn.AdaptiveMaxPool1d(1))
        self.leaky = nn.LeakyReLU()

    def forward(self, x: Tensor, budget: Tensor, curve: Tensor) -> Tensor:
        left = self.leaky(self.bn1(self.fc1(torch.cat((x, budget[:, None]), 1))))
        right = self.cnn(curve[:, None]).squeeze(2)
        out: Tensor = self.leaky(self.fc2(torch.cat((left, right), 1)))
        return out


class Process(gpytorch.models.ExactGP):
    def __init__(self, likelihood: gpytorch.likelihoods.GaussianLikelihood) -> None:
        super().__init__(torch.ones(2, 128), torch.ones(2), likelihood)
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

    def forward(self, z: Tensor) -> gpytorch.distributions.MultivariateNormal:
        return gpytorch.distributions.MultivariateNormal(self.mean_module(z), self.covar_module(z))


def rows(curves: list[tuple[list[float], list[float]]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One row an epoch: configuration, budget, the scores before it padded to the longest, its score."""
    xs, budgets, before, labels = [], [], [], []
    for x, scores in curves:
        for e, score in enumerate(scores, 1):
            xs.append(x)
            budgets.append(e / MAX_EPOCHS)
            before.append(scores[: e - 1])
            labels.append(score)
    width = max(3, *(len(c) for c in before))
    padded = [c + [0.0] * (width - len(c)) for c in before]
    return torch.tensor(xs), torch.tensor(budgets), torch.tensor(padded), torch.tensor(labels)


def main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.manual_seed(7)
    known = []
    for length in (1, 2, 5, 9, 3, 7):
        x = torch.rand(INPUTS)
        level, rate = 0.3 + 0.6 * float(x[0]), 0.2 + float(x[1])
        known.append((x.tolist(), [level * (1 - 2.0 ** (-rate * e)) for e in range(1, length + 1)]))
    asked = [(torch.rand(INPUTS).tolist(), []), *known]

    features, likelihood = Features(), gpytorch.likelihoods.GaussianLikelihood()
    process = Process(likelihood)
    mll = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, process)
    modules = {"": features, "gp.": process}
    named = {p + n: t for p, m in modules.items() for n, t in m.named_parameters()}
    for name, t in named.items():
        if not name.startswith(("gp.", "bn1.")):
            t.data = (0.2 * torch.sin(12.9898 * (1 + torch.arange(t.numel())))).reshape(t.shape)
    parameters = [*process.parameters(), *features.parameters()]
    adam = torch.optim.Adam(parameters, lr=1e-3)

    x, budget, curve, y = rows(known)
    for module in (features, process, likelihood):
        module.train()
    losses: list[float] = []
    gradient: dict[str, Any] = {}
    for step in range(STEPS):
        adam.zero_grad()
        z = features(x, budget, curve)
        process.set_train_data(z, y, strict=False)
        loss = -mll(process(z), y)
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            gradient = {n: t.grad.flatten()[:: max(1, t.numel() // 16)].tolist() for n, t in named.items()}
        adam.step()

    for module in (features, process, likelihood):
        module.eval()
    with torch.no_grad():
        process.set_train_data(features(x, budget, curve), y, strict=False)
        width = max(3, *(len(s) for _, s in asked))
        query = features(
            torch.tensor([c for c, _ in asked]),
            torch.tensor([(len(s) + 1) / MAX_EPOCHS for _, s in asked]),
            torch.tensor([s + [0.0] * (width - len(s)) for _, s in asked]),
        )
        posterior = likelihood(process(query))
    golden = {
        "inputs": INPUTS,
        "max_epochs": MAX_EPOCHS,
        "candidates": [x for x, _ in asked],
        "curves": [s for _, s in asked],
        "losses": losses,
        "gradient": gradient,
        "mean": posterior.mean.tolist(),
        "std": posterior.stddev.tolist(),
    }
    OUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
