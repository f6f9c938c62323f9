"""What of a model is trained, and where its weights come from."""

from pathlib import Path

import pytest
import timm
import torch
from timm_worker import model, names
from torch import nn


class Toy(nn.Module):
    """Five layers and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(x))

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, classes: int) -> None:
        self.fc = nn.Linear(4, classes)


@pytest.mark.parametrize(("share", "trained"), [(0.0, 5), (0.2, 4), (0.4, 3), (0.6, 2), (0.8, 1), (1.0, 0)])
def test_a_layer_is_trained_if_its_place_is_beyond_the_share(share: float, trained: int) -> None:
    network = model.Network(Toy(), 2, share=share)
    flags = [all(p.requires_grad for p in layer.parameters()) for layer in network.model.body]
    assert flags == [False] * (5 - trained) + [True] * trained
    assert all(p.requires_grad for p in network.head.parameters())
    assert network.body_trains == (trained > 0)


def test_features_are_what_enters_the_head_before_dropout() -> None:
    network = model.Network(Toy(), 2, drop=0.9, keep_original=True, keep_source=True)
    network.train()
    x = torch.randn(6, 4)
    logits, features = network(x)
    assert logits.shape == (6, 2)
    assert torch.equal(features, network.model.body(x))
    # Before anything is trained the features are the pretrained ones.
    assert torch.equal(features, network.original_features(x))
    assert network.source_logits().shape == (6, 3)


def test_stochastic_norm_takes_each_channel_from_one_of_two_norms() -> None:
    torch.manual_seed(1)
    norm = nn.BatchNorm2d(400)
    norm.running_mean.normal_()
    plain = nn.BatchNorm2d(400)
    plain.load_state_dict(norm.state_dict())
    holder = nn.Sequential(norm)
    assert model.add_stochastic_norm(holder, set()) == 1
    assert list(holder.state_dict()) == [f"0.{n}" for n in plain.state_dict()]
    x = torch.randn(8, 400, 3, 3)
    out, batch = holder(x), plain(x)
    running = plain.eval()(x)  # after the update, as in the published code
    like_batch = (out - batch).abs().amax(dim=(0, 2, 3)) < 1e-5
    like_running = (out - running).abs().amax(dim=(0, 2, 3)) < 1e-5
    assert bool((like_batch ^ like_running).all())
    assert 150 < int(like_running.sum()) < 250
    assert torch.equal(holder.eval()(x), running)


def test_stochastic_norm_keeps_the_activation_of_timms_norms() -> None:
    network = timm.create_model("tf_efficientnet_lite0")
    count = model.add_stochastic_norm(network, set())
    assert count == 49
    out = network.train()(torch.randn(2, 3, 32, 32))
    assert bool(torch.isfinite(out).all())
    assert float(network.bn1(torch.randn(4, 32, 5, 5)).min()) >= 0  # ReLU6


def test_frozen_norms_do_not_move() -> None:
    network = model.Network(timm.create_model("tf_efficientnet_lite0"), 2, share=1.0)
    before = network.model.bn1.running_mean.clone()
    network.train()
    network(torch.randn(2, 3, 32, 32))
    assert torch.equal(network.model.bn1.running_mean, before)
    assert network.head.training


def test_every_published_name_has_one_of_today() -> None:
    known = set(timm.list_models(pretrained=True))
    assert len(names.TODAY) == 24
    assert [n for n in names.TODAY.values() if n not in known] == []
    assert names.today("tf_efficientnet_lite0") == "tf_efficientnet_lite0"


def test_weights_come_from_a_folder_or_a_file(tmp_path: Path) -> None:
    torch.manual_seed(5)
    saved = timm.create_model("dla46x_c")
    torch.save(saved.state_dict(), tmp_path / "dla46x_c.pth")
    for place in (tmp_path, tmp_path / "dla46x_c.pth"):
        found = model.create("dla46x_c", model.Weights(str(place)))
        assert torch.equal(found.fc.weight, saved.fc.weight)
    with pytest.raises(
        model.ModelError, match=r"no weights of mobilevit_xs .* want mobilevit_xs.cvnets_in1k.safetensors"
    ):
        model.create("mobilevit_xs", model.Weights(str(tmp_path)))
    with pytest.raises(model.ModelError, match="no model nonsense_3"):
        model.create("nonsense_3", model.Weights(scratch=True))
    (tmp_path / "edgenext_xx_small.pth").write_bytes(b"not a file of torch")
    with pytest.raises(model.ModelError, match="could not be had from"):
        model.create("edgenext_xx_small", model.Weights(str(tmp_path)))
