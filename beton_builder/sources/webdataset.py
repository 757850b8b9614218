"""WebDataset: plain tar shards, where the files of a sample follow one another and share a key.

In:  `train-000000.tar`, `imagenet1k-train-0000.tar` … with shards of `test` or `val`, in the folder
     or in `data/` below it, or as `train/*.tar`; numbered shards of no split's name are train.
     A sample has a JPEG or PNG (`webdataset_samples.py`) and a class (`webdataset_classes.py`);
     what else it has, such as soft labels, is left alone.
Out: encoded splits in the order of the shards, which count as numbers (2 before 10), and in each of
     its members.
Nothing is unpacked: the shards are indexed, and images read by offset. That takes plain archives;
compressed ones are refused, and JPEGs and PNGs don't shrink in them anyway. The index takes 32
bytes a sample and its name; measured: 1.13 s for 25,000 samples with their classes in one shard.
"""

import re
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beton_builder.errors import BadSource, SourceNotFound
from beton_builder.progress import Progress, report
from beton_builder.sources.image_folder import Names
from beton_builder.sources.imagenet import UNPACK, has_tars
from beton_builder.sources.samples import (
    EncodedSplit,
    Fingerprint,
    Labels,
    Source,
    Split,
    Unreadable,
    source_name,
)
from beton_builder.sources.tar_shard import TarShard
from beton_builder.sources.webdataset_classes import (
    Classes,
    Said,
    Unusable,
    classes_of_list,
    classes_of_train,
    find_class_list,
)
from beton_builder.sources.webdataset_samples import Unlabelled, samples_of

EXPECTED = (
    "train-*.tar and test-*.tar (in the folder, in data/, or as train/*.tar), or numbered tars"
)
_SPLIT_WORDS = {"train": ("train",), "test": ("test", "validation", "valid", "val")}
_WORDS = [word for group in _SPLIT_WORDS.values() for word in group]
_TAR = r"\.(tar|tgz)(\.(gz|bz2|xz|zst))?"
_OF_SPLIT = re.compile(rf"(?:.*[-_.])?({'|'.join(_WORDS)})(?:[-_.0-9].*)?{_TAR}", re.IGNORECASE)
_NUMBERED = re.compile(r".*[0-9]\.tar")
_IMAGENETS_OWN = "ILSVRC2012_"


def find_shards(folder: Path) -> dict[str, list[Path]]:
    """Shards by the split word of their name or folder; {} when there are none of train."""
    for place in (folder, folder / "data"):
        tars = _tars(place)
        words = {
            path: match[1].lower() for path in tars if (match := _OF_SPLIT.fullmatch(path.name))
        }
        found = {
            word: [path for path in tars if words.get(path) == word] or _tars(place / word)
            for word in _WORDS
        }
        found = {word: paths for word, paths in found.items() if paths}
        if not found:
            numbered = [path for path in tars if _NUMBERED.fullmatch(path.name)]
            found = {"train": numbered} if numbered else {}
        if "train" in found:
            return found
    return {}


def _tars(place: Path) -> list[Path]:
    """The archives in a folder, numbers in their names taken as numbers.

    Compressed ones are among them, to be refused, unless they lie unpacked beside.
    """
    paths = place.glob("*.t*") if place.is_dir() else ()
    tars = [
        path
        for path in paths
        if re.fullmatch(rf".*{_TAR}", path.name)
        and not path.name.startswith((".", _IMAGENETS_OWN))
        and path.is_file()
    ]
    plain = {path.name for path in tars if path.suffix == ".tar"}
    tars = [path for path in tars if path.name in plain or _unpacked(path.name) not in plain]
    return sorted(tars, key=lambda path: (_counted(path.name), path.name))


def _unpacked(name: str) -> str:
    return re.sub(rf"{_TAR}$", ".tar", name)


def _counted(name: str) -> list[Any]:
    """The text and the numbers that a name consists of, by turns."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def open_webdataset(folder: Path, progress: Progress | None = None) -> Source:
    """The WebDataset in `folder`. Raises SourceNotFound, BadSource or DamagedSource."""
    root = folder.resolve()
    found = find_shards(root)
    if not found:
        hint = f"; ImageNet's own tars are there: {UNPACK}" if has_tars(folder) else ""
        raise SourceNotFound(f"no WebDataset train shards in {folder}: expected {EXPECTED}{hint}")
    used = {"train": _Index(root, found["train"], "train", progress)}
    for word in _SPLIT_WORDS["test"]:
        if word in found and "test" not in used:
            index = _Index(root, found[word], "test", progress)
            if not index.without_classes:  # which are kept back from a test split on the hub
                used["test"] = index
    fingerprint = Fingerprint()
    for shard in (shard for index in used.values() for shard in index.shards):
        stat = (root / shard).stat()
        fingerprint.add(str(shard), stat.st_size, stat.st_mtime_ns)
    classes = _classes(root, used["train"], fingerprint)
    splits: dict[str, Split] = {
        name: WebDatasetSplit(root, index, classes) for name, index in used.items()
    }
    return Source(
        format="webdataset",
        name=source_name(folder),
        folder=folder,
        classes=classes.names,
        splits=splits,
        origins={name: index.origin for name, index in used.items()},
        fingerprint=fingerprint.hex(),
        ignored=(
            *(name for index in used.values() for name in index.ignored),
            *_shards_left(root, found, used),
        ),
    )


def _classes(root: Path, train: "_Index", fingerprint: Fingerprint) -> Classes:
    said = train.said()
    if not said and len(train):
        raise BadSource(
            f"none of the {len(train):,} samples in {train.origin} can be used; "
            f"{train.first_problem}"
        )
    nearest = (root / train.shards[0]).parent
    places = [place for place in (nearest, *nearest.parents) if place.is_relative_to(root)]
    listed = find_class_list(places, fingerprint)
    return classes_of_list(*listed, said) if listed else classes_of_train(said)


def _shards_left(root: Path, found: dict[str, list[Path]], used: dict[str, "_Index"]) -> list[str]:
    """Archives that no split is read from."""
    there = {path.relative_to(root) for paths in (_tars(root), *found.values()) for path in paths}
    return sorted(map(str, there.difference(*(index.shards for index in used.values()))))


class _Index:
    """Where the samples of a split are, and what class each says.

    shards: below `root`. starts: the position of each one's first sample, and the end of the last.
    offsets, sizes: of the images, in bytes. problems: by position, why a sample cannot be used.
    """

    def __init__(
        self, root: Path, paths: Sequence[Path], split: str, progress: Progress | None
    ) -> None:
        self.shards = [path.relative_to(root) for path in paths]
        self.starts = [0]
        self.names = Names()
        self.offsets, self.sizes = array("q"), array("q")
        self.problems: dict[int, str] = {}
        self.first_problem = ""
        self.ignored: list[str] = []
        self._numbers: dict[Said, int] = {}  # what samples say, numbered as it first occurs
        self._said = array("q")  # the number of what each says, -1 for nothing
        self._unlabelled = 0
        for done, (path, shard) in enumerate(zip(paths, self.shards, strict=True), 1):
            self._add(path, str(shard))
            report(progress, f"scan {split}", done, len(paths))

    def __len__(self) -> int:
        return self.starts[-1]

    @property
    def origin(self) -> str:
        first, others = self.shards[0], len(self.shards) - 1
        return f"{first} and {others} more" if others else str(first)

    @property
    def without_classes(self) -> bool:
        """Whether there are samples and none has a class, or all have -1."""
        return len(self) > 0 and self._unlabelled + self.said().get(-1, 0) == len(self)

    def said(self) -> dict[Said, int]:
        """What samples say, and how many of them."""
        counts = np.bincount(np.add(self._said, 1), minlength=len(self._numbers) + 1)[1:]
        return dict(zip(self._numbers, counts.tolist(), strict=True))

    def labels(self, classes: Classes) -> tuple[Labels, dict[int, str]]:
        """(n,) labels, -1 for samples that cannot be used, and why these cannot."""
        label_of = np.full(len(self._numbers) + 1, -1, np.int64)
        problems = dict(self.problems)
        said = np.array(self._said, np.int64)
        for what, number in self._numbers.items():
            try:
                label_of[number] = classes.label_of(what)
            except Unusable as problem:
                problems |= dict.fromkeys(np.flatnonzero(said == number).tolist(), str(problem))
        return label_of[said], problems

    def _add(self, path: Path, shard: str) -> None:
        with TarShard(path) as archive:
            for sample in samples_of(archive, shard, self.ignored):
                name = f"{shard}#{sample.name}"
                if sample.problem is not None:
                    self.problems[len(self.offsets)] = str(sample.problem)
                    self.first_problem = self.first_problem or f"{name} {sample.problem}"
                    self._unlabelled += isinstance(sample.problem, Unlabelled)
                self.names.append(name)
                self.offsets.append(sample.offset)
                self.sizes.append(sample.size)
                said = sample.said
                number = -1 if said is None else self._numbers.setdefault(said, len(self._numbers))
                self._said.append(number)
        self.starts.append(len(self.offsets))


class WebDatasetSplit(EncodedSplit):
    """The samples of one or more shards. Picklable: shards are opened again where it is used."""

    def __init__(self, root: Path, index: _Index, classes: Classes) -> None:
        self._root, self._shards, self._starts = root, index.shards, index.starts
        self._names, self._ends = index.names.pack()
        self._offsets = np.array(index.offsets, np.int64)
        self.encoded_sizes = np.array(index.sizes, np.int64)
        self.labels, self._problems = index.labels(classes)

    def name_of(self, index: int) -> str:
        name = self._names[self._ends[index] : self._ends[index + 1]]
        return name.decode("utf-8", "replace")

    def starts(self) -> list[int]:
        return self._starts[:-1]

    def read(self, first: int, stop: int) -> list[bytes | Unreadable]:
        samples: list[bytes | Unreadable] = []
        while first < stop:
            shard = int(np.searchsorted(self._starts, first, side="right")) - 1
            end = min(stop, self._starts[shard + 1])
            with TarShard(self._root / self._shards[shard]) as archive:
                samples += [self._read_sample(archive, i) for i in range(first, end)]
            first = end
        return samples

    def _read_sample(self, archive: TarShard, index: int) -> bytes | Unreadable:
        if index in self._problems:
            return Unreadable(self._problems[index])
        return archive.read(int(self._offsets[index]), int(self.encoded_sizes[index]))
