"""Room `beton_builder`: every image source in, one `.beton` dataset folder out.

In:  IDX, CIFAR, Hugging-Face-style parquet, WebDataset shards, image folders, or a known name.
Out: a folder with `train.beton` (and `test.beton`), one parquet of per-sample records beside each,
     and `manifest.json`, written last; see `build.py` for the path through it.
The names below are resolved on first use, so `import beton_builder` costs a millisecond and imports
neither pyarrow nor Pillow; nothing in this room imports torch (the download of a known dataset
excepted) or ffcv.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beton_builder.beton_reader import BetonFile
    from beton_builder.build import build_beton
    from beton_builder.dataset import Dataset, dataset_info, open_dataset
    from beton_builder.errors import (
        BadOption,
        BadSource,
        BetonError,
        DamagedDataset,
        DamagedSample,
        DamagedSource,
        DatasetExists,
        DatasetNotFound,
        MissingSplit,
        NoSpace,
        OutputUnusable,
        SourceNotFound,
        UnfinishedBeton,
        WorkerDied,
    )
    from beton_builder.verify import verify_dataset

_HOMES = {
    "BetonFile": "beton_reader",
    "Dataset": "dataset",
    "build_beton": "build",
    "dataset_info": "dataset",
    "open_dataset": "dataset",
    "verify_dataset": "verify",
    "BadOption": "errors",
    "BadSource": "errors",
    "BetonError": "errors",
    "DamagedDataset": "errors",
    "DamagedSample": "errors",
    "DamagedSource": "errors",
    "DatasetExists": "errors",
    "DatasetNotFound": "errors",
    "MissingSplit": "errors",
    "NoSpace": "errors",
    "OutputUnusable": "errors",
    "SourceNotFound": "errors",
    "UnfinishedBeton": "errors",
    "WorkerDied": "errors",
}

__all__ = [
    "BadOption",
    "BadSource",
    "BetonError",
    "BetonFile",
    "DamagedDataset",
    "DamagedSample",
    "DamagedSource",
    "Dataset",
    "DatasetExists",
    "DatasetNotFound",
    "MissingSplit",
    "NoSpace",
    "OutputUnusable",
    "SourceNotFound",
    "UnfinishedBeton",
    "WorkerDied",
    "build_beton",
    "dataset_info",
    "open_dataset",
    "verify_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'beton_builder' has no attribute {name!r}")
    return getattr(import_module(f"beton_builder.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
