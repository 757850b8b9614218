"""Which names of networks there are."""

from __future__ import annotations

import difflib
import re

from engine.errors import UsageError

CONVNET = re.compile(r"convnet-d(?P<depth>[1-6])(-w(?P<width>[1-9]\d{0,3}))?")


def check_model_name(name: str) -> None:
    """Raise UsageError, naming the nearest known models, unless ``name`` can be built."""
    if CONVNET.fullmatch(name) or _is_timm_model(name):
        return
    import timm

    known = [f"convnet-d{depth}" for depth in range(1, 7)] + timm.list_models()
    near = difflib.get_close_matches(name, known, n=3) or ["convnet-d3", "resnet18"]
    raise UsageError(
        f"unknown model {name!r}: expected convnet-d1 … convnet-d6 (with -wN for another width "
        f"than 128) or a model of timm; the nearest names are {', '.join(near)}"
    )


def _is_timm_model(name: str) -> bool:
    import timm

    return timm.is_model(name)
