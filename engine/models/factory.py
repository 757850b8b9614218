"""From a name to a network with seeded initial weights."""

from __future__ import annotations

import torch
from torch import nn

from engine.errors import UsageError
from engine.models.convnet import ConvNet
from engine.models.names import CONVNET, check_model_name


def build_model(
    name: str, *, num_classes: int, channels: int, resolution: int, init_seed: int
) -> nn.Module:
    """A network whose initial weights depend on ``init_seed`` alone.

    torch's global generator is left as it was: seeding inside a model factory is what made the
    published runs unrepeatable (docs/protocol.md §3, trap 3).

    Raises:
        UsageError: the name is unknown, or the images are too small for that depth.
    """
    check_model_name(name)
    convnet = CONVNET.fullmatch(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init_seed)
        if convnet is None:
            import timm

            return timm.create_model(
                name, pretrained=False, num_classes=num_classes, in_chans=channels
            )
        depth, width = int(convnet["depth"]), int(convnet["width"] or 128)
        if resolution < 2**depth:
            raise UsageError(
                f"{name} halves the image {depth} times, so it needs at least "
                f"{2**depth} pixels; these images have {resolution}. Choose a smaller depth."
            )
        return ConvNet(
            depth=depth,
            width=width,
            channels=channels,
            num_classes=num_classes,
            resolution=resolution,
        )
