"""TinyImageNet as it is distributed (tiny-imagenet-200.zip, 64 × 64 JPEGs, 200 classes).

In:  `wnids.txt`, `train/WNID/images/*.JPEG`, `val/images/*.JPEG` with `val/val_annotations.txt`,
     or the folder that contains `tiny-imagenet-200/`.
Out: "train" in the order of torchvision's ImageFolder, "test" from val/ in the order of file names,
     classes by WordNet id, sorted. `test/` has no labels and is left alone, boxes are passed over.
A copy whose val/ was sorted into class folders is an image folder like any other.
"""

from collections.abc import Iterator
from pathlib import Path

from beton_builder.errors import BadSource, SourceNotFound
from beton_builder.progress import Progress
from beton_builder.sources.image_folder import is_sample, scan_classes, sorted_entries
from beton_builder.sources.labelled_files import (
    Listed,
    labels_by_file,
    lines_of,
    read_labelled_files,
    require_classes,
)
from beton_builder.sources.samples import Fingerprint, Source, source_name

EXPECTED = "train/WNID/images/*.JPEG with val/images/*.JPEG and val/val_annotations.txt"
_FOLDER = "tiny-imagenet-200"
_ANNOTATIONS = "val/val_annotations.txt"


def find_tiny_imagenet(folder: Path) -> Path | None:
    """The folder that holds TinyImageNet: this one, or its usual subfolder."""
    for place in (folder, folder / _FOLDER):
        images = place / "val" / "images"
        there = (place / "train").is_dir() and (place / _ANNOTATIONS).is_file() and images.is_dir()
        if there and any(is_sample(entry.name) for entry in sorted_entries(images)):
            return place
    return None


def open_tiny_imagenet(folder: Path, progress: Progress | None = None) -> Source:
    """The TinyImageNet dataset in `folder`. Raises SourceNotFound or BadSource."""
    place = find_tiny_imagenet(folder)
    if place is None:
        raise SourceNotFound(f"no TinyImageNet in {folder}: expected {EXPECTED}")
    fingerprint, root = Fingerprint(), place.resolve()
    train = scan_classes(root, root / "train", "train", fingerprint, progress)
    if (root / "wnids.txt").is_file():
        listed = {line.strip() for _, line in lines_of(root / "wnids.txt", fingerprint)}
        require_classes(
            train.classes, listed, place / "train", place / "wnids.txt", all_of_them=True
        )
    annotations = place / _ANNOTATIONS
    labels = labels_by_file(_annotated(annotations, fingerprint), train.classes, annotations)
    test, ignored = read_labelled_files(
        root, root / "val" / "images", labels, annotations, fingerprint
    )
    return Source(
        format="tiny-imagenet",
        name=source_name(place),
        folder=folder,
        classes=train.classes,
        splits={"train": train.split, "test": test},
        origins={"train": "train", "test": "val/images"},
        fingerprint=fingerprint.hex(),
        ignored=(*train.ignored, *ignored),
    )


def _annotated(path: Path, fingerprint: Fingerprint) -> Iterator[Listed]:
    """Lines "val_0.JPEG, WNID, and four numbers of a box", separated by tabs."""
    for place, line in lines_of(path, fingerprint):
        fields = line.split("\t")
        if len(fields) < 2:
            raise BadSource(
                f"{path}, {place}: expected a file name, a tab and a WordNet id, found {line!r}"
            )
        yield Listed(place, fields[0].strip(), fields[1].strip())
