"""ImageNet-1K with its validation images in one folder, as both distributions unpack.

In:  a folder with `train/WNID/*.JPEG` and `val/ILSVRC2012_val_*.JPEG`: the source itself, or
     `ILSVRC/Data/CLS-LOC/` or `Data/CLS-LOC/` in it (Kaggle's zip). The classes of val/ come from
     - `LOC_val_solution.csv` (Kaggle), or
     - `ILSVRC2012_validation_ground_truth.txt` of the development kit (or that of 2015, of the same
       numbers), with `meta.mat` (read by scipy) or `map_clsloc.txt` to say which class a number is,
     in the source, the data folder, the folders of Kaggle's zip above it, or a devkit folder in one
     of them (with or without `data/`).
Out: "train" in the order of torchvision's ImageFolder, "test" from val/ in the order of file names,
     classes by WordNet id, sorted.
Where val/ has been sorted into class folders, this is an image folder, also below ILSVRC/. The tars
are not read: `UNPACK` says how to unpack them.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from beton_builder.errors import BadSource, SourceNotFound
from beton_builder.progress import Progress
from beton_builder.sources import image_folder
from beton_builder.sources.image_folder import scan_classes, sorted_entries
from beton_builder.sources.labelled_files import (
    Listed,
    labels_by_file,
    lines_of,
    read_labelled_files,
    require_classes,
)
from beton_builder.sources.samples import Fingerprint, Source, source_name

EXPECTED = "train/WNID/*.JPEG and val/ILSVRC2012_val_*.JPEG, also in ILSVRC/Data/CLS-LOC/"
UNPACK = (
    "unpack them: ILSVRC2012_img_train.tar, and the 1,000 tars in it, each into train/ and a "
    "folder of its own name; ILSVRC2012_img_val.tar into val/; ILSVRC2012_devkit_t12.tar.gz beside "
    "them, for the classes of val/"
)
_KAGGLE = ("ILSVRC", "Data", "CLS-LOC")
_SOLUTION = "LOC_val_solution.csv"
_SYNSETS = "LOC_synset_mapping.txt"
_TRUTH = re.compile(r"ILSVRC201\d_(clsloc_)?validation_ground_truth\.txt")
_NUMBERED = re.compile(r"ILSVRC2012_val_\d+\.JPEG")


def find_data_folder(folder: Path) -> Path | None:
    """The folder with ImageNet's train/ and val/, where one of its own layouts is there."""
    for data in (folder.joinpath(*_KAGGLE), folder.joinpath(*_KAGGLE[1:])):
        if (data / "train").is_dir():
            return data
    if (folder / "train").is_dir() and _first_of_val(folder) is not None:
        return folder
    return None


def has_tars(folder: Path) -> bool:
    """Whether the archives lie here as they were downloaded."""
    return any(folder.glob("ILSVRC2012_img_*.tar"))


def _first_of_val(data: Path) -> str | None:
    if not (data / "val").is_dir():
        return None
    names = (entry.name for entry in sorted_entries(data / "val"))
    return next((name for name in names if _NUMBERED.fullmatch(name)), None)


def open_imagenet(folder: Path, progress: Progress | None = None) -> Source:
    """The ImageNet dataset in `folder`. Raises SourceNotFound or BadSource."""
    data = find_data_folder(folder)
    if data is None:
        found = f"; its tars are there: {UNPACK}" if has_tars(folder) else ""
        raise SourceNotFound(f"no ImageNet in {folder}: expected {EXPECTED}{found}")
    if _first_of_val(data) is None:
        opened = image_folder.open_image_folder(data, progress)
        return replace(opened, name=source_name(folder), folder=folder)
    fingerprint, root = Fingerprint(), data.resolve()
    places = _places_of_lists(folder, data)
    list_file = _list_of_classes(places, data)
    train = scan_classes(root, root / "train", "train", fingerprint, progress)
    synsets = _first_file(places, _SYNSETS)
    if synsets is not None:
        listed = {line.split()[0] for _, line in lines_of(synsets, fingerprint)}
        require_classes(train.classes, listed, data / "train", synsets, all_of_them=False)
    rows = (
        _solution(list_file, fingerprint)
        if list_file.name == _SOLUTION
        else _ground_truth(list_file, fingerprint)
    )
    labels = labels_by_file(rows, train.classes, list_file)
    test, ignored = read_labelled_files(root, root / "val", labels, list_file, fingerprint)
    return Source(
        format="imagenet",
        name=source_name(folder),
        folder=folder,
        classes=train.classes,
        splits={"train": train.split, "test": test},
        origins={"train": "train", "test": "val"},
        fingerprint=fingerprint.hex(),
        ignored=(*train.ignored, *ignored),
    )


def _places_of_lists(folder: Path, data: Path) -> list[Path]:
    """Where the lists may lie, the nearest to what was named first."""
    places: list[Path] = []
    above = data.resolve().parents if data.resolve().parts[-3:] == _KAGGLE else ()
    for place in (folder, data, *above[1:3]):
        if place not in places:
            kits = [kit for kit in sorted(place.iterdir()) if kit.is_dir() and "devkit" in kit.name]
            places += [place, *kits, *(kit / "data" for kit in kits if (kit / "data").is_dir())]
    return places


def _first_file(places: list[Path], name: str) -> Path | None:
    return next((place / name for place in places if (place / name).is_file()), None)


def _list_of_classes(places: list[Path], data: Path) -> Path:
    solution = _first_file(places, _SOLUTION)
    if solution is not None:
        return solution
    for place in places:
        for file in sorted(place.iterdir()):
            if _TRUTH.fullmatch(file.name):
                return file
    raise BadSource(
        f"the images in {data / 'val'} lie in one folder, and nothing says their classes: put "
        f"{_SOLUTION} (Kaggle) or the folder ILSVRC2012_devkit_t12 (image-net.org) into {places[0]}"
    )


def _solution(path: Path, fingerprint: Fingerprint) -> Iterator[Listed]:
    """Rows "ILSVRC2012_val_00048981,n03995372 85 1 499 272": an image, its class and its boxes."""
    for place, line in lines_of(path, fingerprint):
        (row,) = csv.reader([line])
        if row and row[0] == "ImageId":
            continue
        if len(row) < 2 or not row[1].strip():
            raise BadSource(f"{path}, {place}: expected ImageId,PredictionString, found {row!r}")
        yield Listed(place, f"{row[0]}.JPEG", row[1].split()[0])


def _ground_truth(path: Path, fingerprint: Fingerprint) -> Iterator[Listed]:
    """Line i: the number of the class of ILSVRC2012_val_i.JPEG."""
    wnids = _wnids_by_number(path.parent, fingerprint)
    for place, line in lines_of(path, fingerprint):
        number = line.strip()
        if not number.isascii() or not number.isdigit() or int(number) not in wnids:
            raise BadSource(f"{path}, {place}: expected a class from 1 to 1000, found {number!r}")
        image = int(place.removeprefix("line "))
        yield Listed(place, f"ILSVRC2012_val_{image:08d}.JPEG", wnids[int(number)])


def _wnids_by_number(folder: Path, fingerprint: Fingerprint) -> dict[int, str]:
    """ILSVRC's own numbers of the classes. Raises BadSource where no file has them."""
    mapping = folder / "map_clsloc.txt"
    if mapping.is_file():
        rows = [line.split() for _, line in lines_of(mapping, fingerprint)]
        return {int(row[1]): row[0] for row in rows if len(row) > 1 and row[1].isdigit()}
    meta = folder / "meta.mat"
    if not meta.is_file():
        raise BadSource(
            f"{folder} has neither meta.mat nor map_clsloc.txt, which say what the numbers in its "
            "ground truth mean: unpack the whole development kit there"
        )
    from scipy.io import loadmat

    try:
        synsets = loadmat(meta, squeeze_me=True, struct_as_record=True)["synsets"]
        leaves = synsets[synsets["num_children"].astype(int) == 0]
        return {
            int(number): str(wnid)
            for number, wnid in zip(leaves["ILSVRC2012_ID"], leaves["WNID"], strict=True)
        }
    except Exception as error:  # a damaged .mat fails in many ways
        raise BadSource(f"{meta} is not the development kit's meta.mat ({error})") from error
