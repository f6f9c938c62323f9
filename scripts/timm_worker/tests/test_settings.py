"""Configurations that are read, and those that are refused."""

from typing import Any

import pytest
from timm_worker.settings import BadConfigurationError, parse
from timm_worker.training import milestones


def test_a_configuration_of_the_published_space() -> None:
    s = parse(
        {
            "model": "dla46x_c",
            "epochs": 50,
            "layer_decay": None,
            "linear_probing": True,
            "pct_to_freeze": 0.4,
            "opt": "adamp",
            "opt_betas": "[0.0, 0.99]",
            "clip_grad": 10,
            "batch_size": 512,
            "mixup": 0.2,
        }
    )
    assert (s.freeze, s.layer_decay, s.opt_betas, s.clip_grad, s.batch_size) == (1.0, None, (0.0, 0.99), 10.0, 512)
    assert s.mixes and not parse({"mixup": 0.2, "mixup_prob": 0.0}).mixes


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"lr": -1}, "lr is -1, want a number in"),
        ({"lr": True}, "lr is True"),
        ({"batch_size": 2.5}, "want a whole number"),
        ({"opt": "lion"}, "want one of sgd, momentum, adam, adamw, adamp"),
        ({"opt_betas": "[1, 2]"}, "two numbers in"),
        ({"amp": 1}, "want true or false"),
        ({"dropout": 0.1}, "knows no hyperparameter dropout"),
    ],
)
def test_what_cannot_be_trained_is_refused(config: dict[str, Any], text: str) -> None:
    with pytest.raises(BadConfigurationError, match=text):
        parse(config)


def test_milestones_are_reached_in_every_plan() -> None:
    assert milestones(50) == [15, 30, 45]
    assert milestones(300) == [90, 180, 270]
    assert max(milestones(5)) < 5
