"""A split whose images lie in one folder, with their classes in a list beside it.

In:  the folder, and (place in the list, file name, class name) of every image.
Out: an encoded split in the order of the file names.
ImageNet's and TinyImageNet's validation images come so. List and folder must name the same files:
an image without a class, or a class without an image, means that one of them is not whole.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from beton_builder.errors import BadSource
from beton_builder.sources.image_folder import (
    FolderSplit,
    Names,
    fingerprinted_size,
    is_sample_file,
    sorted_entries,
)
from beton_builder.sources.samples import Fingerprint


class Listed(NamedTuple):
    """What a list says of one image. place: "line 7", for messages."""

    place: str
    file_name: str
    class_name: str


def labels_by_file(
    listed: Iterable[Listed], classes: tuple[str, ...], list_file: Path
) -> dict[str, int]:
    """The label of every listed file name. Raises BadSource for unknown classes and repetitions."""
    index = {name: label for label, name in enumerate(classes)}
    labels: dict[str, int] = {}
    for place, file_name, class_name in listed:
        if class_name not in index:
            raise BadSource(
                f"{list_file}, {place}: {file_name} is of class {class_name!r}, and train has no "
                "folder of that name"
            )
        if file_name in labels:
            raise BadSource(f"{list_file}, {place}: {file_name} is listed twice")
        labels[file_name] = index[class_name]
    return labels


def read_labelled_files(
    root: Path,
    folder: Path,
    labels: dict[str, int],
    list_file: Path,
    fingerprint: Fingerprint,
) -> tuple[FolderSplit, list[str]]:
    """The images of `folder`, which lies in `root`, and the names of what was passed over.

    Raises BadSource where folder and list don't name the same files.
    """
    names = Names()
    found: dict[str, None] = {}
    sizes: list[int] = []
    ignored: list[str] = []
    skip = len(str(root)) + 1
    for file in sorted_entries(folder):
        name = file.path[skip:]
        if file.is_dir() or not is_sample_file(file):
            ignored.append(name)
            continue
        if file.name not in labels:
            raise BadSource(f"{file.path} has no class: {list_file} does not name it")
        names.append(name)
        found[file.name] = None
        sizes.append(fingerprinted_size(file, name, fingerprint))
    if len(found) < len(labels):
        missing = [name for name in labels if name not in found]
        raise BadSource(
            f"{list_file} names {len(labels):,} images, and {len(missing):,} of them are not in "
            f"{folder}: {', '.join(missing[:3])}{', …' * (len(missing) > 3)}"
        )
    return FolderSplit(root, names, [labels[name] for name in found], sizes), ignored


def lines_of(path: Path, fingerprint: Fingerprint) -> Iterator[tuple[str, str]]:
    """("line 7", its text) of every line that is not blank. Raises BadSource."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        stat = path.stat()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSource(f"{path} cannot be read: {error}") from error
    fingerprint.add(path.name, stat.st_size, stat.st_mtime_ns)
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"line {number}", line


def require_classes(
    found: tuple[str, ...], listed: set[str], folder: Path, list_file: Path, *, all_of_them: bool
) -> None:
    """Raise BadSource unless the class folders are in a list (`all_of_them`: and it in them)."""
    unknown = sorted(set(found) - listed)
    missing = sorted(listed - set(found)) if all_of_them else []
    for names, what in ((unknown, "are not in it"), (missing, "have no folder")):
        if names:
            raise BadSource(
                f"{list_file} and the class folders in {folder} disagree: {len(names):,} classes "
                f"{what} ({', '.join(names[:3])}{', …' * (len(names) > 3)})"
            )
