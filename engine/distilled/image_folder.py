"""A folder of images, a sub-folder a class, with or without soft labels beside them.

In: the folder, and the dataset's class names. Out: images in the order of their names. Class
folders are named as the dataset's classes or by their numbers (SRe2L: `new000`, `new001`, …).
Soft labels lie at the top, by file name:

    labels.npz    arrays `files` (n,) and `probabilities`, `logits` or `soft_labels` (n, k)
    labels.csv    a line an image: its file, then k numbers; a first line may name the classes
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.distilled.array_files import load_npz
from engine.distilled.distilled_set import Finding
from engine.distilled.encoded_images import EncodedImages
from engine.distilled.found import LABEL_NAMES, SOFT_NAMES, Found
from engine.errors import ArtefactError, MismatchError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_NUMBERED = re.compile(r"^(?:new|class)?[_-]?0*(\d+)$", re.IGNORECASE)

Rows = npt.NDArray[Any]


def is_image_folder(path: Path) -> bool:
    """Whether a folder has sub-folders with images in them, perhaps below `train`."""
    return any(_image_files(folder) for folder in _class_folders(_top(path)))


def read_image_folder(path: Path, classes: Sequence[str] | None) -> Found:
    """Images and labels of a folder.

    ``classes``: the dataset's, in order; None takes the sorted folder names.

    Raises:
        MismatchError: folders that are no classes of the dataset.
        ArtefactError: an image without its soft label, or labels that can't be read.
    """
    top = _top(path)
    folders = _class_folders(top)
    numbers, finding = _class_numbers([folder.name for folder in folders], classes, top)
    files, labels = [], []
    for folder, number in zip(folders, numbers, strict=True):
        of_class = _image_files(folder)
        files += of_class
        labels += [number] * len(of_class)
    names = [file.relative_to(top).as_posix() for file in files]
    soft_nk, soft_name = _soft_labels(top, names, classes)
    return Found(
        images=EncodedImages(files, names, top),
        classes_n=np.array(labels, np.int64),
        soft_nk=soft_nk,
        soft_name=soft_name,
        format="image-folder",
        findings=finding,
    )


def _top(path: Path) -> Path:
    inner = path / "train"
    return inner if inner.is_dir() and not _image_files(inner) else path


def _class_folders(top: Path) -> list[Path]:
    return sorted(each for each in top.iterdir() if each.is_dir() and not each.name.startswith("."))


def _image_files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)


def _class_numbers(
    names: Sequence[str], classes: Sequence[str] | None, top: Path
) -> tuple[list[int], tuple[Finding, ...]]:
    classes = sorted(names) if classes is None else classes
    place = {name: number for number, name in enumerate(classes)}
    if all(name in place for name in names):
        return [place[name] for name in names], ()
    numbered = [_NUMBERED.match(name) for name in names]
    numbers = [int(match[1]) for match in numbered if match]
    if len(numbers) == len(names) and max(numbers) < len(classes):
        finding = Finding(
            about="class folders",
            taken_as="numbers of the dataset's classes",
            because=f"{names[0]} is {classes[numbers[0]]}, {names[-1]} is {classes[numbers[-1]]}",
        )
        return numbers, (finding,)
    stranger = next(name for name in names if name not in place)
    near = difflib.get_close_matches(stranger, classes, n=1)
    raise MismatchError(
        f"{top}: folder {stranger!r} is no class of the dataset, which has {len(classes)} from "
        f"{classes[0]!r} to {classes[-1]!r}"
        + (f"; did you mean {near[0]!r}?" if near else "; class numbers would do too")
    )


def _soft_labels(
    top: Path, names: Sequence[str], classes: Sequence[str] | None
) -> tuple[Rows | None, str]:
    if (top / "labels.npz").is_file():
        path = top / "labels.npz"
        files, rows, name = _from_npz(path)
    elif (top / "labels.csv").is_file():
        path = top / "labels.csv"
        files, rows, name = *_from_csv(path, classes), ""
    else:
        return None, ""
    if len(files) != len(rows):
        raise ArtefactError(f"{path}: {len(files)} files, but {len(rows)} labels")
    row_of = {file: number for number, file in enumerate(files)}
    missing = [each for each in names if each not in row_of]
    if missing or len(row_of) != len(files):
        raise ArtefactError(
            f"{path}: expected one label for each of {len(names)} images; found none for "
            f"{missing[0]}"
            if missing
            else f"{path}: the same file is named twice"
        )
    return rows[[row_of[name] for name in names]], name


def _from_npz(path: Path) -> tuple[list[str], Rows, str]:
    arrays = load_npz(path)
    name = next((each for each in (*SOFT_NAMES, *LABEL_NAMES) if each in arrays), None)
    if name is None or "files" not in arrays:
        raise ArtefactError(
            f"{path}: expected arrays files and {SOFT_NAMES[0]} (or probabilities, logits), found "
            f"{', '.join(arrays) or 'none'}"
        )
    files, rows = arrays["files"], arrays[name]
    if files.ndim != 1 or rows.ndim != 2:
        raise ArtefactError(
            f"{path}: expected files (n,) and {name} (n, classes), found {files.shape} and "
            f"{rows.shape}"
        )
    return [str(each) for each in files], rows, name


def _from_csv(path: Path, classes: Sequence[str] | None) -> tuple[list[str], Rows]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ArtefactError(f"{path} can't be read: {error}") from error
    columns: list[int] | None = None
    if lines and not _is_number(lines[0][-1]):
        columns = _columns_of(lines.pop(0)[1:], classes, path)
    try:
        rows = np.array([[float(value) for value in line[1:]] for line in lines])
    except ValueError as error:
        message = f"{path}: expected lines of a file and equally many numbers ({error})"
        raise ArtefactError(message) from error
    if columns is not None and rows.ndim == 2 and rows.shape[1] == len(columns):
        rows = rows[:, columns]
    return [line[0] for line in lines], rows


def _columns_of(
    names: Sequence[str], classes: Sequence[str] | None, path: Path
) -> list[int] | None:
    """Where each class of the dataset stands in a file that names its columns."""
    if classes is None:
        return None
    if sorted(names) != sorted(classes):
        stranger = next((name for name in names if name not in classes), None)
        raise MismatchError(
            f"{path}: its columns are not the dataset's {len(classes)} classes "
            + (f"({stranger!r} is none)" if stranger else f"(there are {len(names)})")
        )
    place = {name: number for number, name in enumerate(names)}
    return [place[name] for name in classes]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
