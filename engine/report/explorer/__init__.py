"""The label explorer: choose an image, slide the expert epoch, watch its label change.

In: a dataset and the label store made from it. Out: one HTML fragment with its own style, script
and data, for the report's page; no network, works from a file. For each image and epoch it holds
the five likeliest classes, the true class's probability and rank and the entropy, and for each
epoch the mean label of every class's images. The path: `choice` (which images, epochs, classes) →
`labels` (read and average) → `pack` (quantise) → `fragment`, with `pictures` and `curves`.

CIFAR-100 with 6 epochs gives 0.32 MB in 0.1 s of processor time, with 42 epochs 0.89 MB in 0.7 s.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {"explorer_fragment": "engine.report.explorer.fragment"}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
