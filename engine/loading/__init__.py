"""Loading: a dataset, a subset and (seed, epoch, start) in; batches of uint8 images out.

:func:`batches` is the way in. Two tiers follow one order and give equal images: *resident* (all
in memory, gathered by index) and *streaming* (decoded from the mapped file by threads). Every batch
carries its samples' ids. The path through the room: ``tiers`` → ``order`` → ``resident``, or
``streaming`` → ``crops``, ``crew`` → ``pixels`` → ``jpeg``.

Names are resolved on first use, so that importing the room imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.loading.batch import Batch, BatchIterator
    from engine.loading.errors import (
        DamagedImage,
        DecoderMissing,
        InvalidRequest,
        LoadingError,
        ResolutionNeeded,
        TierUnsuitable,
    )
    from engine.loading.order import EpochPlan, epoch_order, plan_epoch
    from engine.loading.resident import Resident, load_resident
    from engine.loading.streaming import Streaming
    from engine.loading.tiers import TierChoice, batches, choose_tier, open_images

_HOMES = {
    "Batch": "batch",
    "BatchIterator": "batch",
    "DamagedImage": "errors",
    "DecoderMissing": "errors",
    "EpochPlan": "order",
    "InvalidRequest": "errors",
    "LoadingError": "errors",
    "Resident": "resident",
    "ResolutionNeeded": "errors",
    "Streaming": "streaming",
    "TierChoice": "tiers",
    "TierUnsuitable": "errors",
    "batches": "tiers",
    "choose_tier": "tiers",
    "epoch_order": "order",
    "load_resident": "resident",
    "open_images": "tiers",
    "plan_epoch": "order",
}

__all__ = [
    "Batch",
    "BatchIterator",
    "DamagedImage",
    "DecoderMissing",
    "EpochPlan",
    "InvalidRequest",
    "LoadingError",
    "Resident",
    "ResolutionNeeded",
    "Streaming",
    "TierChoice",
    "TierUnsuitable",
    "batches",
    "choose_tier",
    "epoch_order",
    "load_resident",
    "open_images",
    "plan_epoch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'engine.loading' has no attribute {name!r}")
    return getattr(import_module(f"engine.loading.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
