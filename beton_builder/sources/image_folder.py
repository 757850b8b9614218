"""ImageFolder: one folder per class, JPEG and PNG files below it.

In:  `ROOT/train/CLASS/…` with `ROOT/val` or `ROOT/test` beside it, or `ROOT/CLASS/…`.
Out: encoded splits in the order of torchvision's ImageFolder: classes sorted by name, then folders,
     then file names.
The split "test" is read from `test` if that has class folders, else from `val`. A file is what its
content says; its name only decides whether it is a candidate: `.jpg`, `.jpeg`, `.png` are samples,
other image types are refused (leaving them out would silently shrink the dataset), and everything
else (hidden files, text) is passed over and counted. Names are kept as one byte string
with offsets: 40 MB for ImageNet's 1.28 million, where a list of str takes 150.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from beton_builder.errors import BadSource, SourceNotFound
from beton_builder.progress import Progress, report
from beton_builder.sources.samples import (
    EncodedSplit,
    Fingerprint,
    Source,
    Split,
    Unreadable,
    source_name,
)

SAMPLE_SUFFIXES = (".jpg", ".jpeg", ".png")
OTHER_IMAGE_SUFFIXES = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".pgm", ".ppm", ".svg", ".tga",
    ".tif", ".tiff", ".webp",
)  # fmt: skip
_TEST_FOLDERS = ("test", "val", "valid", "validation")
EXPECTED = "train/CLASS/*.jpg|png with val|test beside it, or CLASS/*.jpg|png"


def find_class_folders(folder: Path) -> dict[str, str]:
    """Which subfolder ("" for the folder itself) holds the classes of which split; {} for none."""
    train = folder / "train"
    if train.is_dir() and _has_classes(train):
        tests = [n for n in _TEST_FOLDERS if (folder / n).is_dir() and _has_classes(folder / n)]
        # TinyImageNet's test/ holds images/ alone: not the classes of its train/, as val/ may be.
        alike = [name for name in tests if class_names(folder / name) == class_names(train)]
        return {"train": "train"} | ({"test": (alike or tests)[0]} if tests else {})
    names = {entry.name for entry in sorted_entries(folder) if _is_class_folder(entry)}
    if names <= {"train", *_TEST_FOLDERS}:
        return {}  # images lie directly in train/: the folders are splits without classes
    return {"train": ""} if _has_classes(folder) else {}


def class_names(folder: Path) -> tuple[str, ...]:
    """The names of the folders in a folder, sorted, hidden ones left out."""
    return tuple(entry.name for entry in sorted_entries(folder) if _is_class_folder(entry))


def _has_classes(folder: Path) -> bool:
    return any(
        is_sample(file.name)
        for entry in sorted_entries(folder)
        if _is_class_folder(entry)
        for file in _files_below(entry.path)
    )


def _is_class_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def is_sample(name: str) -> bool:
    """Whether a file name is that of a JPEG or PNG sample."""
    return name.lower().endswith(SAMPLE_SUFFIXES) and not name.startswith(".")


def sorted_entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise SourceNotFound(f"{folder} cannot be read: {error.strerror}") from error


def _files_below(folder: str) -> Iterator[os.DirEntry[str]]:
    """Files in torchvision's order: by folder path, then name; links followed, not in circles."""
    pending, seen = [folder], {_place_of(Path(folder))}
    found: list[tuple[str, list[os.DirEntry[str]]]] = []
    while pending:
        place = pending.pop()
        entries = sorted_entries(place)
        found.append((place, [entry for entry in entries if not entry.is_dir()]))
        for entry in entries:
            if _is_class_folder(entry):
                place_of_entry = _place_of(entry)
                if place_of_entry not in seen:
                    seen.add(place_of_entry)
                    pending.append(entry.path)
    for _, files in sorted(found, key=lambda item: item[0]):
        yield from files


def _place_of(folder: Path | os.DirEntry[str]) -> tuple[int, int]:
    """What a folder is known by, through whatever links."""
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


class Names:
    """A list of relative names, in one byte string."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = [0]

    def append(self, name: str) -> None:
        self._bytes += os.fsencode(name)
        self._ends.append(len(self._bytes))

    def pack(self) -> tuple[bytes, np.ndarray]:
        return bytes(self._bytes), np.array(self._ends, np.int64)


class Scan(NamedTuple):
    """A scanned split: its samples, the classes in label order, what was passed over."""

    split: "FolderSplit"
    classes: tuple[str, ...]
    ignored: list[str]


def open_image_folder(folder: Path, progress: Progress | None = None) -> Source:
    """The image folder dataset in `folder`. Raises SourceNotFound or BadSource."""
    places = find_class_folders(folder)
    if not places:
        raise SourceNotFound(f"no image folders in {folder}: expected {EXPECTED}")
    fingerprint, root = Fingerprint(), folder.resolve()
    scans = {
        split: scan_classes(root, root / place, split, fingerprint, progress)
        for split, place in places.items()
    }
    classes = scans["train"].classes
    if "test" in scans and scans["test"].classes != classes:
        raise BadSource(_disagreement(folder, places, classes, scans["test"].classes))
    splits: dict[str, Split] = {split: scan.split for split, scan in scans.items()}
    return Source(
        format="image-folder",
        name=source_name(folder),
        folder=folder,
        classes=classes,
        splits=splits,
        origins={split: place or "." for split, place in places.items()},
        fingerprint=fingerprint.hex(),
        ignored=tuple(name for scan in scans.values() for name in scan.ignored),
    )


def _disagreement(
    folder: Path, places: dict[str, str], train: tuple[str, ...], test: tuple[str, ...]
) -> str:
    only_train = sorted(set(train) - set(test))
    only_test = sorted(set(test) - set(train))
    parts = [
        f"{len(names)} only in {places[split]} ({', '.join(names[:3])}{', …' * (len(names) > 3)})"
        for split, names in (("train", only_train), ("test", only_test))
        if names
    ]
    return f"the splits of {folder} disagree on their class folders: {'; '.join(parts)}"


def scan_classes(
    root: Path, top: Path, split: str, fingerprint: Fingerprint, progress: Progress | None
) -> Scan:
    """Every sample below the class folders of `top`, a folder in `root`, in torchvision's order."""
    names = Names()
    labels: list[int] = []
    sizes: list[int] = []
    ignored: list[str] = []
    entries = sorted_entries(top)
    folders = [entry for entry in entries if _is_class_folder(entry)]
    skip = len(str(root)) + 1
    ignored += [entry.path[skip:] for entry in entries if entry.is_file()]
    for label, class_folder in enumerate(folders):
        for file in _files_below(class_folder.path):
            name = file.path[skip:]
            if not is_sample_file(file):
                ignored.append(name)
                continue
            names.append(name)
            labels.append(label)
            sizes.append(fingerprinted_size(file, name, fingerprint))
        report(progress, f"scan {split}", label + 1, len(folders))
    samples = FolderSplit(root, names, labels, sizes)
    return Scan(samples, tuple(entry.name for entry in folders), ignored)


def is_sample_file(file: os.DirEntry[str]) -> bool:
    """Whether a file is a sample; False for what is passed over.

    Raises BadSource for an image of another type, whose absence nobody would notice.
    """
    if not is_sample(file.name) and file.name.lower().endswith(OTHER_IMAGE_SUFFIXES):
        raise BadSource(
            f"{file.path} is an image that is neither JPEG nor PNG; convert it, or move it away"
        )
    return is_sample(file.name)


def fingerprinted_size(file: os.DirEntry[str], name: str, fingerprint: Fingerprint) -> int:
    """The size of a file in bytes, which is added to the source's fingerprint."""
    try:
        stat = file.stat()
        size, modified = stat.st_size, stat.st_mtime_ns
    except OSError:  # a dangling link: it becomes a damaged sample when it is read
        size = modified = 0
    fingerprint.add(name, size, modified)
    return size


class FolderSplit(EncodedSplit):
    """Files below `root`, in order; read one by one when asked for."""

    def __init__(self, root: Path, names: Names, labels: list[int], sizes: list[int]) -> None:
        self.root = root
        self._names, self._ends = names.pack()
        self.labels = np.array(labels, np.int64)
        self.encoded_sizes = np.array(sizes, np.int64)

    def _relative(self, index: int) -> str:
        return os.fsdecode(self._names[self._ends[index] : self._ends[index + 1]])

    def name_of(self, index: int) -> str:
        return self._relative(index).encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    def read(self, first: int, stop: int) -> list[bytes | Unreadable]:
        return [self._read_file(self.root / self._relative(i)) for i in range(first, stop)]

    def _read_file(self, path: Path) -> bytes | Unreadable:
        try:
            with path.open("rb", buffering=0) as file:
                return file.read()
        except OSError as error:
            return Unreadable(f"cannot be read: {error.strerror}")
