"""The ConvNet family against plain PyTorch modules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.errors import UsageError
from engine.models import build_model


def plain_convnet(depth: int, channels: int, num_classes: int, side: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for block in range(depth):
        layers += [
            nn.Conv2d(128 if block else channels, 128, 3, padding=1),
            nn.GroupNorm(128, 128),
            nn.ReLU(),
            nn.AvgPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * (side >> depth) ** 2, num_classes))


def test_convnet_d3_has_the_papers_number_of_parameters() -> None:
    model = build_model("convnet-d3", num_classes=100, channels=3, resolution=32, init_seed=0)
    assert sum(p.numel() for p in model.parameters()) == 504_420


@pytest.mark.parametrize(("depth", "channels", "side"), [(3, 3, 32), (4, 3, 64), (3, 1, 28)])
def test_output_and_gradients_equal_plain_pytorch(depth: int, channels: int, side: int) -> None:
    ours = build_model(
        f"convnet-d{depth}", num_classes=7, channels=channels, resolution=side, init_seed=3
    )
    plain = plain_convnet(depth, channels, 7, side)
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        theirs.data.copy_(mine.data)
    images = torch.randn(5, channels, side, side)
    ours(images).square().mean().backward()
    plain(images).square().mean().backward()
    torch.testing.assert_close(ours(images), plain(images), rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-6)


def test_initial_weights_depend_on_the_seed_alone_and_leave_the_global_generator() -> None:
    shape = {"num_classes": 5, "channels": 3, "resolution": 16}
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = build_model("convnet-d2-w8", init_seed=1, **shape).state_dict()
    assert torch.equal(torch.rand(3), expected)
    again = build_model("convnet-d2-w8", init_seed=1, **shape).state_dict()
    other = build_model("convnet-d2-w8", init_seed=2, **shape).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_timm_models_are_built_by_name() -> None:
    model = build_model("resnet18", num_classes=4, channels=1, resolution=64, init_seed=0)
    assert model(torch.zeros(2, 1, 64, 64)).shape == (2, 4)


def test_an_unknown_model_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UsageError, match="convnet-d3"):
        build_model("convnet-d33", num_classes=2, channels=3, resolution=32, init_seed=0)


def test_images_too_small_for_the_depth_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 64 pixels"):
        build_model("convnet-d6", num_classes=2, channels=3, resolution=32, init_seed=0)
