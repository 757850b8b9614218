"""CIFAR-10 and CIFAR-100 in their own two layouts (www.cs.toronto.edu/~kriz/cifar.html).

In:  the unpacked "python version" (pickles, through a restricted unpickler) or "binary version"
     (records of label bytes and 3,072 pixel bytes), or the folder that contains it.
Out: splits of (32, 32, 3), CIFAR-100 with its 20 superclasses.
The binary version is mapped, not read. A pickle can only be loaded whole: one file at a time is in
memory, 31 MB for CIFAR-10, 154 MB for the single train file of CIFAR-100.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beton_builder.errors import BadSource, DamagedSource, SourceNotFound
from beton_builder.sources.cifar_pickle import names_in, read_cifar_pickle
from beton_builder.sources.samples import (
    Fingerprint,
    Labels,
    PixelSplit,
    Source,
    Split,
    source_name,
)

SIDE = 32
PIXELS = 3 * SIDE * SIDE
_BATCHES = range(1, 6)


@dataclass(frozen=True)
class _Layout:
    """One of the four published forms: its files and where the class names are."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    superclass_meta: str | None
    binary: bool

    @property
    def label_bytes(self) -> int:
        return 2 if self.superclass_meta else 1

    def fits(self, folder: Path) -> bool:
        return any((folder / name).is_file() for name in self.train)


_LAYOUTS = (
    _Layout("cifar-10-batches-py", tuple(f"data_batch_{i}" for i in _BATCHES), ("test_batch",),
            "batches.meta", None, binary=False),
    _Layout("cifar-100-python", ("train",), ("test",), "meta", "meta", binary=False),
    _Layout("cifar-10-batches-bin", tuple(f"data_batch_{i}.bin" for i in _BATCHES),
            ("test_batch.bin",), "batches.meta.txt", None, binary=True),
    _Layout("cifar-100-binary", ("train.bin",), ("test.bin",), "fine_label_names.txt",
            "coarse_label_names.txt", binary=True),
)  # fmt: skip
EXPECTED = (
    "data_batch_1..5 + batches.meta, train + test + meta, data_batch_1..5.bin + batches.meta.txt, "
    "or train.bin + test.bin + fine_label_names.txt"
)


def find_cifar_layout(folder: Path) -> tuple[Path, "_Layout"] | None:
    """The folder that holds CIFAR files (this one or its usual subfolder) and their layout."""
    for layout in _LAYOUTS:
        for place in (folder, folder / layout.folder):
            if layout.fits(place):
                return place, layout
    return None


def open_cifar(folder: Path) -> Source:
    """The CIFAR dataset in `folder`. Raises SourceNotFound, BadSource or DamagedSource."""
    found = find_cifar_layout(folder)
    if found is None:
        raise SourceNotFound(f"no CIFAR files in {folder}: expected {EXPECTED}")
    place, layout = found
    missing = [name for name in (*layout.train, layout.meta) if not (place / name).is_file()]
    if missing:
        raise BadSource(f"{place} lacks {', '.join(missing)} of a {layout.folder} folder")
    splits: dict[str, Split] = {"train": CifarSplit(place, layout.train, layout)}
    if all((place / name).is_file() for name in layout.test):
        splits["test"] = CifarSplit(place, layout.test, layout)
    classes, superclasses, superclass_of = _classes(place, layout, splits["train"])
    files = [place / name for name in (*layout.train, *layout.test, layout.meta)]
    return Source(
        format="cifar",
        name=source_name(folder),
        folder=folder,
        classes=classes,
        superclasses=superclasses,
        superclass_of=superclass_of,
        splits=splits,
        origins={split: ", ".join(getattr(layout, split)) for split in splits},
        fingerprint=Fingerprint.of_files(path for path in files if path.is_file()),
    )


def _classes(
    place: Path, layout: _Layout, train: Split
) -> tuple[tuple[str, ...], tuple[str, ...] | None, tuple[int, ...] | None]:
    if not layout.superclass_meta:
        names = _names(place / layout.meta, "label_names", layout)
        return names, None, None
    names = _names(place / layout.meta, "fine_label_names", layout)
    superclasses = _names(place / layout.superclass_meta, "coarse_label_names", layout)
    assert isinstance(train, CifarSplit)
    assert train.coarse_labels is not None
    where = f"{place / layout.train[0]}"
    nesting = superclass_of_each(train.labels, train.coarse_labels, names, superclasses, where)
    return names, superclasses, nesting


def _names(path: Path, key: str, layout: _Layout) -> tuple[str, ...]:
    if not layout.binary:
        return names_in(path, key)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise DamagedSource(f"{path} lists no class names", path.name)
    return names


def superclass_of_each(
    fine: Labels,
    coarse: Labels,
    classes: tuple[str, ...],
    superclasses: tuple[str, ...],
    where: str,
) -> tuple[int, ...]:
    """For each class the position of its superclass, read off the train samples.

    fine, coarse: (n,) labels. Raises BadSource when a class lies in two superclasses or none.
    """
    if len(coarse) and not 0 <= coarse.min() <= coarse.max() < len(superclasses):
        raise DamagedSource(
            f"{where}: coarse labels {coarse.min()}..{coarse.max()} are out of range for "
            f"{len(superclasses)} superclasses"
        )
    nesting = []
    for position, name in enumerate(classes):
        found = np.unique(coarse[fine == position])
        if len(found) != 1:
            raise BadSource(
                f"{where}: class {name!r} lies in {len(found)} superclasses, expected exactly one"
            )
        nesting.append(int(found[0]))
    return tuple(nesting)


class CifarSplit(PixelSplit):
    """One or several batch files, one after another.

    Picklable, and may be read by several threads, which share the pickle that is loaded.
    """

    shape = (SIDE, SIDE, 3)

    def __init__(self, place: Path, files: tuple[str, ...], layout: _Layout) -> None:
        self._paths = [place / name for name in files]
        self._binary_label_bytes = layout.label_bytes if layout.binary else None
        read: Callable[[Path], tuple[Labels, Labels | None, int]]
        read = self._binary_labels if layout.binary else self._pickled_labels
        labels, coarse = [], []
        for path in self._paths:
            batch_labels, batch_coarse, count = read(path)
            if len(batch_labels) != count:
                raise DamagedSource(
                    f"{path} holds {count} images but {len(batch_labels)} labels", path.name
                )
            labels.append(batch_labels)
            coarse.append(batch_coarse)
        self._starts = np.cumsum([0, *map(len, labels)])
        self.labels = np.concatenate(labels)
        self.coarse_labels = (
            np.concatenate([part for part in coarse if part is not None])
            if layout.superclass_meta
            else None
        )
        self._loaded: tuple[int, npt.NDArray[np.uint8]] | None = None
        self._loading = threading.Lock()

    def name_of(self, index: int) -> str:
        batch = int(np.searchsorted(self._starts, index, side="right")) - 1
        return f"{self._paths[batch].name}#{index - self._starts[batch]}"

    def starts(self) -> list[int]:
        return [int(start) for start in self._starts[:-1]]

    def read(self, first: int, stop: int) -> npt.NDArray[np.uint8]:
        parts = []
        for batch, path in enumerate(self._paths):
            begin, end = self._starts[batch : batch + 2]
            if first < end and begin < stop:
                rows = slice(max(first, begin) - begin, min(stop, end) - begin)
                parts.append(self._planes(batch, path)[rows])
        planes = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return planes.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)

    def _planes(self, batch: int, path: Path) -> npt.NDArray[np.uint8]:
        """(n, 3072) uint8: the red, green and blue planes of every image of a batch."""
        if self._binary_label_bytes is not None:
            return _records(path, self._binary_label_bytes)[:, self._binary_label_bytes :]
        with self._loading:
            if self._loaded is None or self._loaded[0] != batch:
                self._loaded = None
                self._loaded = (batch, _pixel_array(path, read_cifar_pickle(path)))
            return self._loaded[1]

    def _binary_labels(self, path: Path) -> tuple[Labels, Labels | None, int]:
        assert self._binary_label_bytes is not None
        records = _records(path, self._binary_label_bytes)
        fine = records[:, self._binary_label_bytes - 1].astype(np.int64)
        coarse = records[:, 0].astype(np.int64) if self._binary_label_bytes == 2 else None
        return fine, coarse, len(records)

    def _pickled_labels(self, path: Path) -> tuple[Labels, Labels | None, int]:
        content = read_cifar_pickle(path)
        key = "fine_labels" if "fine_labels" in content else "labels"
        coarse = _label_list(path, content, "coarse_labels") if key == "fine_labels" else None
        return _label_list(path, content, key), coarse, len(_pixel_array(path, content))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_loading"} | {
            "_loaded": None
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _loading=threading.Lock())


def _records(path: Path, label_bytes: int) -> npt.NDArray[np.uint8]:
    size, record = path.stat().st_size, label_bytes + PIXELS
    if not size or size % record:
        raise DamagedSource(
            f"{path} is truncated: {size} bytes, not a whole number of {record}-byte records",
            path.name,
        )
    return np.memmap(path, np.uint8, "r").reshape(-1, record)


def _pixel_array(path: Path, content: dict[str, Any]) -> npt.NDArray[np.uint8]:
    data = content.get("data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (PIXELS,):
        found = type(data).__name__
        if isinstance(data, np.ndarray):
            found = f"{data.dtype} {data.shape}"
        raise DamagedSource(
            f"{path}: 'data' should be uint8 (n, {PIXELS}), found {found}", path.name
        )
    return data


def _label_list(path: Path, content: dict[str, Any], key: str) -> Labels:
    values = content.get(key)
    if not isinstance(values, list) or not all(isinstance(value, int) for value in values):
        raise DamagedSource(f"{path}: {key!r} should be a list of integers", path.name)
    return np.array(values, np.int64)
