"""The interface between source formats and the builder.

A `Source` says what a dataset is (classes, splits, where it came from). A `Split` is an indexable,
lazily read list of samples: position = sample id = the canonical order of the source. Splits are
picklable, so that worker processes read their own samples, and read by several threads at once.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from beton_builder.errors import BadSource, DamagedSource, SourceNotFound

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Unreadable:
    """Stands in a split's answer for a sample whose bytes cannot be read; says why."""

    reason: str


class Split(ABC):
    """The samples of one split. `labels`: (n,) int64, known before any image is read."""

    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def name_of(self, index: int) -> str:
        """The sample's name within the source: a path, or file and row."""

    def starts(self) -> list[int]:
        """Positions where reading begins cheaply (row groups, batches); always includes 0."""
        return [0]


class EncodedSplit(Split):
    """Samples that are JPEG or PNG files.

    encoded_sizes: (n,) int64 bytes; where only sums are known, their averages.
    """

    encoded_sizes: npt.NDArray[np.int64]

    @abstractmethod
    def read(self, first: int, stop: int) -> list[bytes | Unreadable]:
        """The encoded bytes of samples first..stop-1. Raises DamagedSource for a broken file."""

    def __getitem__(self, index: int) -> tuple[bytes | Unreadable, int]:
        return self.read(index, index + 1)[0], int(self.labels[index])


class PixelSplit(Split):
    """Samples that are equally sized arrays; `shape` is (height, width, channels)."""

    shape: tuple[int, int, int]

    @abstractmethod
    def read(self, first: int, stop: int) -> npt.NDArray[np.uint8]:
        """Samples first..stop-1 as (stop - first, height, width, channels) uint8."""

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.uint8], int]:
        return self.read(index, index + 1)[0], int(self.labels[index])


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset as its source has it.

    folder: where it lies. splits: "train" and, where there is one, "test". superclass_of: for each
    class the position of its superclass. origins: which file or folder each split was read from.
    fingerprint: changes when a file of the source changes (names, sizes, modification times).
    ignored: what lies in the source and was passed over on purpose.
    """

    format: str
    name: str
    folder: Path
    classes: tuple[str, ...]
    splits: dict[str, Split]
    origins: dict[str, str]
    fingerprint: str
    superclasses: tuple[str, ...] | None = None
    superclass_of: tuple[int, ...] | None = None
    ignored: tuple[str, ...] = field(default=())


class Fingerprint:
    """A hash over the files of a source: relative name, size, modification time."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, name: str, size: int, modified_ns: int) -> None:
        self._hash.update(f"{name}\0{size}\0{modified_ns}\n".encode("utf-8", "surrogateescape"))

    def hex(self) -> str:
        return self._hash.hexdigest()[:32]

    @classmethod
    def of_files(cls, paths: Iterable[Path]) -> str:
        """Fingerprint of a few files of one folder."""
        fingerprint = cls()
        for path in sorted(paths):
            stat = path.stat()
            fingerprint.add(path.name, stat.st_size, stat.st_mtime_ns)
        return fingerprint.hex()


def source_name(folder: Path) -> str:
    """What a dataset is called: the name of its source folder."""
    return folder.resolve().name or "dataset"


def folder_of(source: str | Path) -> Path:
    """The source as an existing folder.

    Raises SourceNotFound when it is missing, a file, unreadable or empty.
    """
    folder = Path(source)
    if not folder.exists():
        raise SourceNotFound(
            f"source {str(source)!r} does not exist (expected a folder, or one of the names "
            f"fashion-mnist, cifar10, cifar100)"
        )
    if not folder.is_dir():
        raise SourceNotFound(f"source {folder} is a file; give the folder that holds the dataset")
    try:
        empty = not any(folder.iterdir())
    except OSError as error:
        raise SourceNotFound(f"source {folder} cannot be read: {error.strerror}") from error
    if empty:
        raise SourceNotFound(f"source {folder} is an empty folder")
    return folder


def check_labels(source: Source, *, skip_damaged: bool) -> None:
    """Refuse empty splits and, unless such samples will be skipped, labels out of range."""
    count = len(source.classes)
    for split_name, split in source.splits.items():
        if not len(split):
            raise BadSource(f"split {split_name} ({source.origins[split_name]}) has no samples")
        wrong = np.flatnonzero((split.labels < 0) | (split.labels >= count))
        if len(wrong) and not skip_damaged:
            raise _wrong_label(split, split_name, wrong, count)
    if not skip_damaged:
        check_every_class(source.classes, source.splits["train"].labels)


def _wrong_label(
    split: Split, split_name: str, wrong: npt.NDArray[np.int64], count: int
) -> DamagedSource:
    """The error for the first of the samples `wrong`, whose labels are not among `count`."""
    first = int(wrong[0])
    name = split.name_of(first)
    sample = split.read(first, first + 1)[0] if isinstance(split, EncodedSplit) else None
    if isinstance(sample, Unreadable):
        problem = f"sample {name} in split {split_name} {sample.reason}"
    else:
        problem = (
            f"label {split.labels[first]} of sample {name} in split {split_name} is out of "
            f"range: expected 0..{count - 1} for {count} classes"
        )
    return DamagedSource(
        f"{problem} ({len(wrong)} samples without a usable label). Correct it, or leave such "
        "samples out with --on-error skip",
        name,
    )


def check_every_class(classes: tuple[str, ...], train_labels: Labels) -> None:
    """Refuse a class without a single train image: nothing downstream could be drawn from it."""
    empty = np.flatnonzero(np.bincount(train_labels, minlength=len(classes)) == 0)
    if len(empty):
        names = ", ".join(classes[i] for i in empty[:5])
        raise BadSource(
            f"{len(empty)} of {len(classes)} classes have no train images left: {names}"
            + (", …" if len(empty) > 5 else "")
        )
