"""Speed of training the embedded networks: ours against PyTorch on the CPU.

Both sides train the same networks (layer by layer, checked by their numbers of
parameters) on batches of the same size in float32 with AdamW, on one thread, in
short turns one after the other, so that what else runs on the machine hits both.
What is compared is processor time; the ratio of a network is the median over the
rounds of PyTorch's time divided by ours: above 1 we are faster.

    python scripts/compare_torch/compare.py [--batch 32] [--rounds 5] [--models plain_xs,vit_l]

needs torch (any CPU build) and Go.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
CLASSES = 10

# width, depth and the two other sizes of each network, as in internal/vision.
SPECS: dict[str, tuple[int, int, int, int]] = {
    "plain_xs": (16, 1, 16, 16),
    "plain_s": (16, 1, 32, 32),
    "plain_m": (16, 2, 32, 64),
    "plain_l": (32, 2, 48, 96),
    "residual_xs": (16, 1, 2, 0),
    "residual_s": (16, 1, 3, 0),
    "residual_m": (16, 2, 3, 0),
    "residual_l": (32, 1, 3, 0),
    "separable_xs": (16, 1, 0, 0),
    "separable_s": (32, 1, 0, 0),
    "separable_m": (48, 2, 0, 0),
    "separable_l": (64, 3, 0, 0),
    "mixer_xs": (16, 2, 32, 32),
    "mixer_s": (32, 3, 64, 32),
    "mixer_m": (48, 4, 192, 32),
    "mixer_l": (96, 5, 192, 48),
    "convmixer_xs": (32, 2, 0, 0),
    "convmixer_s": (48, 4, 0, 0),
    "convmixer_m": (80, 6, 0, 0),
    "convmixer_l": (128, 8, 0, 0),
    "vit_xs": (16, 2, 32, 0),
    "vit_s": (32, 3, 64, 0),
    "vit_m": (48, 5, 96, 0),
    "vit_l": (80, 4, 160, 0),
}


class Residual(nn.Module):
    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.branch(x)


class Mean(nn.Module):
    """The mean over pixels or tokens."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=self.dims)


class Tokens(nn.Module):
    """Images to tokens [batch, tokens, channels]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2).transpose(1, 2)


class Transpose(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(1, 2)


class Position(nn.Module):
    def __init__(self, tokens: int, channels: int) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.randn(tokens, channels) * 0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.p


class Attention(nn.Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(b, n, c))


def gelu() -> nn.Module:
    return nn.GELU(approximate="tanh")


def conv_norm(inputs: int, outputs: int, width: int, stride: int = 1, relu: bool = True) -> list[nn.Module]:
    padding = width // 2 if stride == 1 else 0
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, width, stride=stride, padding=padding, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return [*layers, nn.ReLU(inplace=True)] if relu else layers


def feed_forward(width: int, hidden: int) -> nn.Module:
    return Residual(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), gelu(), nn.Linear(hidden, width)))


def plain(width: int, depth: int, a: int, b: int) -> tuple[list[nn.Module], int]:
    layers: list[nn.Module] = []
    inputs = 3
    for stage, outputs in enumerate((width, a, b)):
        for _ in range(1 if stage == 0 else depth):
            layers += conv_norm(inputs, outputs, 3)
            inputs = outputs
        if stage < 2:
            layers.append(nn.MaxPool2d(2))
    return [*layers, Mean((2, 3))], inputs


def residual(width: int, depth: int, a: int, _b: int) -> tuple[list[nn.Module], int]:
    layers: list[nn.Module] = []
    inputs, outputs = 3, width
    for _ in range(a):
        layers += conv_norm(inputs, outputs, 2, stride=2)
        for _ in range(depth):
            block = conv_norm(outputs, outputs, 3) + conv_norm(outputs, outputs, 3, relu=False)
            layers += [Residual(nn.Sequential(*block)), nn.ReLU(inplace=True)]
        inputs, outputs = outputs, 2 * outputs
    return [*layers, Mean((2, 3))], inputs


def separable(width: int, depth: int, _a: int, _b: int) -> tuple[list[nn.Module], int]:
    inputs = width
    layers = conv_norm(3, inputs, 2, stride=2)
    for stage in range(3):
        outputs = width << stage
        if stage > 0:
            layers.append(nn.AvgPool2d(2))
        for _ in range(depth):
            block = [
                nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
                nn.BatchNorm2d(inputs),
                nn.ReLU(inplace=True),
                *conv_norm(inputs, outputs, 1),
            ]
            layers.append(Residual(nn.Sequential(*block)) if inputs == outputs else nn.Sequential(*block))
            inputs = outputs
    return [*layers, Mean((2, 3))], inputs


def mixer(width: int, depth: int, a: int, b: int) -> tuple[list[nn.Module], int]:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=4), Tokens()]
    for _ in range(depth):
        mix = [nn.LayerNorm(width), Transpose(), nn.Linear(64, b), gelu(), nn.Linear(b, 64), Transpose()]
        layers += [Residual(nn.Sequential(*mix)), feed_forward(width, a)]
    return [*layers, nn.LayerNorm(width), Mean((1,))], width


def convmixer(width: int, depth: int, _a: int, _b: int) -> tuple[list[nn.Module], int]:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=4), gelu(), nn.BatchNorm2d(width)]
    for _ in range(depth):
        mix = [nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False), gelu(), nn.BatchNorm2d(width)]
        layers += [Residual(nn.Sequential(*mix)), nn.Conv2d(width, width, 1), gelu(), nn.BatchNorm2d(width)]
    return [*layers, Mean((2, 3))], width


def vit(width: int, depth: int, a: int, _b: int) -> tuple[list[nn.Module], int]:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=4), Tokens(), Position(64, width)]
    for _ in range(depth):
        attention = nn.Sequential(nn.LayerNorm(width), Attention(width, width // 16))
        layers += [Residual(attention), feed_forward(width, a)]
    return [*layers, nn.LayerNorm(width), Mean((1,))], width


KINDS = {
    "plain": plain,
    "residual": residual,
    "separable": separable,
    "mixer": mixer,
    "convmixer": convmixer,
    "vit": vit,
}


def build(name: str) -> nn.Module:
    layers, features = KINDS[name.split("_", maxsplit=1)[0]](*SPECS[name])
    return nn.Sequential(*layers, nn.Linear(features, CLASSES))


def torch_step(name: str, batch: int, channels_last: bool) -> Callable[[], None]:
    torch.manual_seed(1)
    model = build(name).train()
    x = torch.randn(batch, 3, 32, 32)
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    y = torch.arange(batch) % CLASSES
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def timed(step: Callable[[], None], steps: int) -> float:
    start = time.process_time()
    for _ in range(steps):
        step()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="length of one turn")
    parser.add_argument("--models", default="")
    args = parser.parse_args()
    torch.set_num_threads(1)
    names = args.models.split(",") if args.models else list(SPECS)

    with tempfile.TemporaryDirectory() as tmp:
        binary = Path(tmp) / "timevision"
        subprocess.run(["go", "build", "-o", str(binary), "./internal/vision/timevision"], cwd=ROOT, check=True)
        ours = subprocess.Popen([str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert ours.stdin is not None and ours.stdout is not None

        def ask(line: str) -> str:
            assert ours.stdin is not None and ours.stdout is not None
            ours.stdin.write(line + "\n")
            ours.stdin.flush()
            return ours.stdout.readline().strip()

        known = ask("list").split()
        if known != list(SPECS):
            sys.exit(f"the networks differ: {known}")
        print(f"torch {torch.__version__}, batch {args.batch}, one thread, images per second of processor time")
        print(f"{'network':14} {'parameters':>10} {'ours':>9} {'torch':>9} {'ratio':>6}")
        ratios = []
        for name in names:
            best: list[float] = []
            for channels_last in (False, True):
                step = torch_step(name, args.batch, channels_last)
                timed(step, 2)
                best.append(min(timed(step, 2) for _ in range(2)))
            step = torch_step(name, args.batch, best[1] < best[0])
            timed(step, 2)
            steps = max(1, round(args.seconds / (min(best) / 2)))
            pairs = []
            for _ in range(args.rounds):
                theirs = timed(step, steps)
                mine = float(ask(f"{name} {args.batch} {steps}").split()[0])
                pairs.append((mine, theirs))
            ratio = statistics.median(t / m for m, t in pairs)
            ratios.append(ratio)
            size = sum(p.numel() for p in build(name).parameters())
            images = steps * args.batch
            mine, theirs = (statistics.median(images / p[k] for p in pairs) for k in (0, 1))
            print(f"{name:14} {size:10d} {mine:9.0f} {theirs:9.0f} {ratio:6.2f}", flush=True)
        ours.stdin.close()
        ours.wait()
        print(f"{sum(r >= 1 for r in ratios)} of {len(ratios)} at least as fast; lowest {min(ratios):.2f}")


if __name__ == "__main__":
    main()
