"""The terms that fine-tuning methods add to the loss of the task.

They are those of the embedded trainer, so that a sweep means the same with either.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def l2sp(parameters: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Sum over all elements of (value - start)^2: L2-SP (Li, Grandvalet and Davoine, ICML 2018)."""
    parts = [(value - start).square().sum() for value, start in parameters]
    return torch.stack(parts).sum() if parts else torch.zeros(())


def delta(features: Tensor, start: Tensor) -> Tensor:
    """Mean over the batch of |f - f0|^2, features and pretrained features [batch, n]:
    DELTA (Li et al., ICLR 2019) on the last layer, without attention."""
    return (features.float() - start.float()).square().sum(dim=1).mean()


def bss(features: Tensor) -> Tensor:
    """The smallest singular value of the features [batch, n], squared: batch spectral
    shrinkage (Chen et al., NeurIPS 2019) with k = 1."""
    return torch.linalg.svdvals(features.float())[-1].square()


def cotuning(source_logits: Tensor, targets: Tensor, relation: Tensor) -> Tensor:
    """Cross-entropy of the source head [batch, source classes] with what the target
    classes mean to it. `targets` is [batch, classes] and may be soft, row y of `relation`
    is p(source class | y): Co-Tuning (You et al., NeurIPS 2020)."""
    wanted = targets @ relation
    return -(wanted * torch.log_softmax(source_logits.float(), dim=1)).sum(dim=1).mean()


def relationship(probabilities: Tensor, labels: Tensor, classes: int) -> Tensor:
    """p(source class | target class), [classes, source classes]: the mean of the source
    head's probabilities over the pictures of a class, the direct way of Co-Tuning. A class
    without pictures gets equal probabilities."""
    source = probabilities.shape[1]
    sums = torch.zeros(classes, source, dtype=torch.float64, device=probabilities.device)
    sums.index_add_(0, labels, probabilities.double())
    counts = torch.bincount(labels, minlength=classes).to(sums)
    relation = sums / counts.clamp(min=1).unsqueeze(1)
    relation[counts == 0] = 1 / source
    return relation.float()


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy with soft targets [batch, classes]."""
    return -(targets * torch.log_softmax(logits.float(), dim=1)).sum(dim=1).mean()


def one_hot(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Targets [batch, classes] with smoothing spread over all classes."""
    targets = torch.full((len(labels), classes), smoothing / classes, device=labels.device)
    return targets.scatter_add_(
        1, labels.unsqueeze(1), torch.full((len(labels), 1), 1 - smoothing, device=labels.device)
    )
