"""Augmentation of batches, driven by counter-based random numbers.

Names are resolved on first use: who needs no tensors waits for no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.augment.cutmix import Mix, apply_mix, draw_mixes
    from engine.augment.dsa import OPERATIONS, apply_operation, draw_operations, draw_parameters
    from engine.augment.philox import philox_uniform, stream_key

_HOMES = {
    "OPERATIONS": "dsa",
    "Mix": "cutmix",
    "apply_mix": "cutmix",
    "apply_operation": "dsa",
    "draw_mixes": "cutmix",
    "draw_operations": "dsa",
    "draw_parameters": "dsa",
    "philox_uniform": "philox",
    "stream_key": "philox",
}

__all__ = [
    "OPERATIONS",
    "Mix",
    "apply_mix",
    "apply_operation",
    "draw_mixes",
    "draw_operations",
    "draw_parameters",
    "philox_uniform",
    "stream_key",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
