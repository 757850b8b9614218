"""The label store: soft labels of every expert epoch for every sample, in Zarr, read by index.

    store = labelstore.open_store("labels/cifar100.zarr")
    view = store.view()                                   # the only expert, un-augmented images
    logits = view.read(13, [4, 1, 4])                     # float16 (3, C)
    targets = view.probabilities(13, indices, temperature=2.0)    # float32 (k, C)

In: logits of any model, as arrays. Out: arrays by epoch and sample index. Knows nothing of torch,
models or images, and imports nothing of the other rooms. `layout` shows where everything lies.
Importing this package imports neither numpy nor zarr; names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .codecs import bytes_per_sample
    from .convert import convert_labels
    from .creation import create_store, find_store
    from .ensemble import Ensemble
    from .errors import (
        BadArgument,
        BadIndices,
        BadLogits,
        BadSource,
        ChunkInUse,
        DamagedStore,
        EpochNotDumped,
        LabelStoreError,
        ReadOnlyStore,
        StoreFull,
        StoreNotFound,
        SubsetsNotFound,
        ViewNotFound,
        WrongCheckpoint,
        WrongClasses,
        WrongDataset,
        WrongFormat,
        WrongIdentity,
    )
    from .imports import import_labels
    from .info import store_info
    from .soft_dataset import SoftLabelDataset, with_soft_labels
    from .soft_loader import SoftLabelLoader
    from .store import LabelStore, open_store
    from .subsets import materialise, verify_subsets
    from .verify import verify_store
    from .view import LabelView
    from .writer import LabelWriter

_MODULES = {
    "SoftLabelDataset": "soft_dataset",
    "SoftLabelLoader": "soft_loader",
    "import_labels": "imports",
    "materialise": "subsets",
    "verify_subsets": "subsets",
    "with_soft_labels": "soft_dataset",
    "Ensemble": "ensemble",
    "bytes_per_sample": "codecs",
    "convert_labels": "convert",
    "create_store": "creation",
    "find_store": "creation",
    "open_store": "store",
    "verify_store": "verify",
    "store_info": "info",
    "LabelStore": "store",
    "LabelView": "view",
    "LabelWriter": "writer",
}

__all__ = [
    "BadArgument",
    "BadIndices",
    "BadLogits",
    "BadSource",
    "ChunkInUse",
    "DamagedStore",
    "Ensemble",
    "EpochNotDumped",
    "LabelStore",
    "LabelStoreError",
    "LabelView",
    "LabelWriter",
    "ReadOnlyStore",
    "SoftLabelDataset",
    "SoftLabelLoader",
    "StoreFull",
    "StoreNotFound",
    "SubsetsNotFound",
    "ViewNotFound",
    "WrongCheckpoint",
    "WrongClasses",
    "WrongDataset",
    "WrongFormat",
    "WrongIdentity",
    "bytes_per_sample",
    "convert_labels",
    "create_store",
    "find_store",
    "import_labels",
    "materialise",
    "open_store",
    "store_info",
    "verify_store",
    "verify_subsets",
    "with_soft_labels",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
