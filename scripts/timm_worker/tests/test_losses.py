"""Loss formulas against tensors that were worked out by hand."""

import math

import pytest
import torch
from timm_worker import losses


def test_l2sp_is_the_squared_distance_from_the_start() -> None:
    value = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    start = torch.tensor([[0.0, 2.0], [1.0, 7.0]])
    bias, zero = torch.tensor([0.5], requires_grad=True), torch.zeros(1)
    loss = losses.l2sp([(value, start), (bias, zero)])
    # 1 + 0 + 4 + 9, and 0.25; the gradient is twice the difference.
    assert loss.item() == pytest.approx(14.25)
    loss.backward()
    assert value.grad is not None
    assert value.grad.tolist() == [[2.0, 0.0], [4.0, -6.0]]
    assert losses.l2sp([]) == 0.0


def test_delta_is_the_mean_squared_distance_of_features() -> None:
    f = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]], requires_grad=True)
    f0 = torch.tensor([[0.0, 0.0, 0.0], [0.0, 3.0, 1.0]])
    loss = losses.delta(f, f0)
    # (1 + 4) and (4), over two pictures; the gradient is 2 (f - f0) / 2.
    assert loss.item() == pytest.approx(4.5)
    loss.backward()
    assert f.grad is not None
    assert f.grad.tolist() == [[1.0, 0.0, 2.0], [0.0, -2.0, 0.0]]


def test_bss_is_the_least_squared_singular_value() -> None:
    # Orthogonal rows of lengths 5 and 1: these are the singular values.
    f = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]], requires_grad=True)
    loss = losses.bss(f)
    assert loss.item() == pytest.approx(1.0)
    loss.backward()
    assert f.grad is not None
    assert torch.allclose(f.grad, torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]), atol=1e-6)
    # [[2, 1], [1, 2]] has the singular values 3 and 1, its double 6 and 2.
    assert losses.bss(torch.tensor([[4.0, 2.0], [2.0, 4.0]])).item() == pytest.approx(4.0, rel=1e-5)


def test_cotuning_is_a_cross_entropy_with_related_classes() -> None:
    logits = torch.zeros(2, 3)
    logits[0, 0] = math.log(2.0)  # probabilities 1/2, 1/4, 1/4
    relation = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    hard = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # First: -(log(1/2) + log(1/4))/2 = 1.5 log 2. Second: log 3.
    expected = (1.5 * math.log(2) + math.log(3)) / 2
    assert losses.cotuning(logits, hard, relation).item() == pytest.approx(expected, rel=1e-6)
    soft = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    # First: 1/4, 1/4, 1/2 against the logs: (log 2 + 2 log 2 + 4 log 2) / 4.
    expected = (7 / 4 * math.log(2) + math.log(3)) / 2
    assert losses.cotuning(logits, soft, relation).item() == pytest.approx(expected, rel=1e-6)


def test_the_relationship_is_the_mean_of_a_class() -> None:
    p = torch.tensor([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]])
    relation = losses.relationship(p, torch.tensor([0, 0, 2]), 3)
    assert torch.allclose(relation, torch.tensor([[0.6, 0.4], [0.5, 0.5], [0.1, 0.9]]))


def test_smoothed_targets() -> None:
    targets = losses.one_hot(torch.tensor([1, 0]), 4, 0.1)
    assert torch.allclose(targets, torch.tensor([[0.025, 0.925, 0.025, 0.025], [0.925, 0.025, 0.025, 0.025]]))
    logits = torch.tensor([[0.0, math.log(3.0), 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    # log-probabilities: log(1/6) three times and log(1/2); then log(1/4).
    first = 0.075 * math.log(6) + 0.925 * math.log(2)
    assert losses.soft_cross_entropy(logits, targets).item() == pytest.approx((first + math.log(4)) / 2, rel=1e-6)
