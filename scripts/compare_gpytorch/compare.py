"""Decisions and meta-training of the published predictor: ours against torch and gpytorch.

Both sides have the same model, weights, rows and schedules. One process each, one
thread each, taking turns; what is compared is processor time, so that what else
runs on the machine hits both alike.

A decision is a fit to all observations, from meta-learned weights, and the
posterior of 200 candidates. The published fit is 50 steps of Adam on all weights;
ours by default is ten evaluations of L-BFGS on the parameters of the process. The
loss after the fit, a negative log marginal likelihood per row, is printed beside
the times.

Meta-training is that of the paper: 32 rows of one data set an iteration, 50 rounds
of validation every 20 iterations. Both sides run the same number of iterations;
then ours, with its own training, stops at the validation error that torch reached.

    python scripts/compare_gpytorch/compare.py results/extended [--iterations 10000]

needs torch (any CPU build), gpytorch, numpy and Go. torch computes in float32, as
the public implementation does, ours in float64.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import gpytorch
import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
GROUPS = (23, 46)
EPOCHS = 50
META_SCALE = 1000.0
ROWS = 32


class Encoder(nn.Module):
    """A perceptron with one hidden layer over a group of columns."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.input_layer = nn.Linear(columns, 32)
        self.output_layer = nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output_layer(torch.relu(self.input_layer(x)))
        return out


class CurveEmbedder(nn.Module):
    """The network over the curve so far."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, 8, 3, padding="same")
        self.conv2 = nn.Conv1d(8, 8, 3, padding="same")
        self.pool = nn.MaxPool1d(2)
        self.dropout = nn.Dropout1d(0.25)
        self.fc1 = nn.Linear(8 * (EPOCHS // 2), 16)

    def forward(self, curve: Tensor) -> Tensor:
        x = torch.relu(self.conv1(curve.unsqueeze(1)))
        x = self.dropout(self.pool(self.conv2(x)))
        return torch.relu(self.fc1(torch.relu(x.flatten(1))))


class Extractor(nn.Module):
    """Configuration, budget, descriptors and curve to an embedding of 32 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleList([Encoder(g) for g in GROUPS])
        self.curve_embedder = CurveEmbedder()
        self.fc_metafeatures = nn.Linear(4, 4)
        self.fc1 = nn.Linear(32 * len(GROUPS) + 1 + 4 + 16, 32)
        self.fc3 = nn.Linear(32, 32)

    def forward(self, rows: Rows) -> Tensor:
        parts = [e(x) for e, x in zip(self.encoders, rows.config.split(GROUPS, dim=1), strict=True)]
        parts += [rows.budget, self.fc_metafeatures(rows.meta), self.curve_embedder(rows.curve)]
        out: Tensor = self.fc3(nn.functional.leaky_relu(self.fc1(torch.cat(parts, dim=1))))
        return out


class Process(gpytorch.models.ExactGP):  # type: ignore[misc]
    """The exact Gaussian process over embeddings."""

    def __init__(self, x: Tensor, y: Tensor, likelihood: gpytorch.likelihoods.GaussianLikelihood) -> None:
        super().__init__(x, y, likelihood)
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

    def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


class Rows:
    """A batch of rows as tensors."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        curve = np.zeros((len(rows), EPOCHS), np.float32)
        for i, r in enumerate(rows):
            known = (r["Curve"] or [])[: r["Epoch"] - 1]
            curve[i, : len(known)] = known
        self.curve = torch.from_numpy(curve)
        self.config = torch.tensor(np.array([r["Config"] for r in rows], np.float32))
        self.meta = torch.tensor(np.array([r["Meta"] for r in rows], np.float32))
        self.budget = torch.tensor([[r["Epoch"] / EPOCHS] for r in rows], dtype=torch.float32)


class Predictor:
    """Extractor, process and likelihood with everything that trains them."""

    def __init__(self, weights: dict[str, Tensor] | None) -> None:
        self.extractor = Extractor()
        self.likelihood = gpytorch.likelihoods.GaussianLikelihood()
        self.process = Process(torch.zeros(1, 32), torch.zeros(1), self.likelihood)
        self.mll = gpytorch.mlls.ExactMarginalLogLikelihood(self.likelihood, self.process)
        if weights is not None:
            self.load(weights)

    def load(self, weights: dict[str, Tensor]) -> None:
        head = "feature_extractor."
        self.extractor.load_state_dict({k[len(head) :]: v for k, v in weights.items() if k.startswith(head)})
        own = self.process.state_dict()
        for name, value in weights.items():
            if not name.startswith(head):
                own[name] = value.reshape(own[name].shape)
        self.process.load_state_dict(own)

    def parameters(self) -> list[nn.Parameter]:
        return [*self.extractor.parameters(), *self.process.parameters()]

    def train(self, on: bool) -> None:
        for m in (self.extractor, self.process, self.likelihood):
            m.train(on)

    def loss(self, rows: Rows, y: Tensor) -> Tensor:
        z = self.extractor(rows)
        self.process.set_train_data(z, y, strict=False)
        out: Tensor = -self.mll(self.process(z), y)
        return out

    def predict(self, known: Rows, y: Tensor, query: Rows) -> tuple[Tensor, Tensor]:
        self.train(False)
        with torch.no_grad():
            self.process.set_train_data(self.extractor(known), y, strict=False)
            p = self.likelihood(self.process(self.extractor(query)))
            return p.mean, p.stddev


def read_weights(path: Path) -> dict[str, Tensor]:
    data = path.read_bytes()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n])
    out = {}
    for name, t in header.items():
        if name.startswith("performance."):
            lo, hi = t["data_offsets"]
            values = np.frombuffer(data[8 + n + lo : 8 + n + hi], "<f8").astype(np.float32)
            out[name.removeprefix("performance.")] = torch.from_numpy(values.copy()).reshape(t["shape"])
    return out


def decide(x: dict[str, Any], weights: dict[str, Tensor], n: int, repeat: int) -> tuple[float, float]:
    """Processor seconds of a decision, the least of some, and the loss after its fit."""
    known, y = Rows(x["History"][:n]), torch.tensor(x["Targets"][:n])
    query = Rows(x["Candidates"])
    best, loss = math.inf, math.nan
    for _ in range(repeat):
        p = Predictor(weights)
        start = time.process_time()
        # Dropout is off on both sides, so that the losses can be compared.
        p.train(True)
        p.extractor.eval()
        optimiser = torch.optim.Adam(p.parameters(), lr=1e-4)
        for _ in range(50):
            optimiser.zero_grad()
            p.loss(known, y).backward()
            optimiser.step()
        p.predict(known, y, query)
        best = min(best, time.process_time() - start)
        p.train(True)
        p.extractor.eval()
        with torch.no_grad():
            loss = float(p.loss(known, y))
    return best, loss


def draw(tasks: list[dict[str, Any]], n: int, rng: np.random.Generator) -> tuple[Rows, Tensor]:
    """Random rows of a random data set."""
    t = tasks[rng.integers(len(tasks))]
    meta = [v / META_SCALE for v in t["Meta"]]
    rows, y = [], []
    for _ in range(n):
        c = int(rng.integers(len(t["Scores"])))
        budget = int(rng.integers(1, EPOCHS))
        target = min(budget, len(t["Scores"][c]))
        rows.append({"Config": t["Config"][c], "Meta": meta, "Epoch": budget, "Curve": t["Scores"][c][: target - 1]})
        y.append(t["Scores"][c][target - 1])
    return Rows(rows), torch.tensor(y)


def meta_train(x: dict[str, Any], iterations: int) -> tuple[float, float]:
    """Processor seconds of some iterations and the lowest validation error."""
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    rounds = []
    for seed in range(50):
        task = [x["Validation"][int(np.random.default_rng(seed).integers(len(x["Validation"])))]]
        r = np.random.default_rng(1000 + seed)
        rounds.append((draw(task, ROWS, r), draw(task, ROWS, r)))
    p = Predictor(None)
    best = math.inf
    start = time.process_time()
    optimiser = torch.optim.Adam(p.parameters(), lr=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 10000, 1e-7)
    for i in range(1, iterations + 1):
        rows, y = draw(x["Train"], ROWS, rng)
        p.train(True)
        optimiser.zero_grad()
        p.loss(rows, y).backward()
        optimiser.step()
        schedule.step()
        if i % 20 == 0:
            errors = [float(((p.predict(*known, query)[0] - target) ** 2).mean()) for known, (query, target) in rounds]
            best = min(best, float(np.mean(errors)))
    return time.process_time() - start, best


def ours(binary: Path, folder: Path, *args: str) -> dict[str, float]:
    out = subprocess.run(
        [binary, "-dir", folder, *args],
        env=os.environ | {"GOMAXPROCS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    result: dict[str, float] = json.loads(out.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="meta-dataset of the Extended curves")
    parser.add_argument("--iterations", type=int, default=500, help="of torch's meta-training")
    parser.add_argument("--rounds", type=int, default=3, help="decisions of each kind")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        binary = folder / "ours"
        subprocess.run(["go", "build", "-o", binary, "./scripts/compare_gpytorch"], cwd=ROOT, check=True)
        subprocess.run(
            [binary, "-mode", "export", "-data", args.data.resolve(), "-dir", folder],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        x = json.loads((folder / "tasks.json").read_text())
        weights = read_weights(folder / "weights.safetensors")
        print(f"torch {torch.__version__}, gpytorch {gpytorch.__version__}, one thread each, processor time\n")
        print("decision with 200 candidates  |  torch         |  ours, same schedule     |  ours, default")
        for n in (50, 200, 800):
            torch_s, torch_loss = decide(x, weights, n, args.rounds)
            same = ours(binary, folder, "-mode", "decide", "-rows", str(n), "-repeat", str(args.rounds))
            best = ours(
                binary, folder, "-mode", "decide", "-rows", str(n), "-fit", "default", "-repeat", str(args.rounds)
            )
            print(
                f"{n:4d} rows  {1e3 * torch_s:9.1f} ms, loss {torch_loss:7.4f}"
                f"  |  {1e3 * same['Seconds']:8.1f} ms, loss {same['Loss']:7.4f}, {torch_s / same['Seconds']:6.1f}x"
                f"  |  {1e3 * best['Seconds']:8.1f} ms, loss {best['Loss']:7.4f}, {torch_s / best['Seconds']:6.1f}x",
                flush=True,
            )
        n = args.iterations
        torch_s, error = meta_train(x, n)
        same = ours(binary, folder, "-mode", "train", "-iterations", str(n))
        best = ours(binary, folder, "-mode", "train", "-fit", "default", "-iterations", "100000", "-until", str(error))
        print(f"\nmeta-training, {n} iterations of the published schedule")
        print(f"torch                {torch_s:9.2f} s, validation error {error:.5f}, {1e3 * torch_s / n:.2f} ms each")
        print(f"ours, same schedule  {summary(same, torch_s)}")
        print(f"ours, default        {summary(best, torch_s)}")


def summary(r: dict[str, float], torch_s: float) -> str:
    """What a training of ours took to which error, in how many iterations."""
    ratio = torch_s / r["Seconds"]
    return f"{r['Seconds']:9.2f} s, validation error {r['Error']:.5f}, {r['Iterations']:.0f} iterations, {ratio:6.1f}x"


if __name__ == "__main__":
    main()
