"""`open_distilled`: any distilled set to images and targets, or the reason why not.

path → which format → arrays or encoded images (Found) → their meaning → DistilledSet
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import beton_builder
from engine.distilled.array_files import HDF5_SUFFIXES, NPZ_SUFFIXES, read_hdf5, read_npz
from engine.distilled.distilled_set import DistilledSet, Finding, tensor_of
from engine.distilled.encoded_images import EncodedImages
from engine.distilled.found import Found
from engine.distilled.image_folder import is_image_folder, read_image_folder
from engine.distilled.label_kinds import understand_labels
from engine.distilled.own_sets import is_own, read_own
from engine.distilled.pixels import as_nchw, understand_values
from engine.distilled.shard_readers import read_parquet, read_webdataset, shard_files
from engine.distilled.tensor_files import SUFFIXES as TENSOR_SUFFIXES
from engine.distilled.tensor_files import read_tensor_file
from engine.errors import ArtefactError, MismatchError

MTT_IMAGES = "images_best.pt"


def open_distilled(
    path: str | Path,
    *,
    dataset: beton_builder.Dataset | None = None,
    images: str = "auto",
    label_kind: str = "auto",
    resolution: int | None = None,
) -> DistilledSet:
    """Read a distilled set made here or elsewhere.

    Args:
        path: a `.pt`, `.npz`, HDF5, parquet or tar file; or a folder of images by class, of
            parquet or tar files, of MTT's tensors, or as `export_distilled` or `learn_labels`
            write it.
        dataset: the one it was distilled from; the set is held against its classes, channels and
            image size.
        images: what pixel values are (``bytes``, ``unit``, ``normalised``), or ``auto``: as far as
            the values leave no doubt. Encoded images are always bytes.
        label_kind: ``hard``, ``probabilities``, ``logits``, ``weights``, or ``auto``.
        resolution: side in pixels that students will see; by default the dataset's, else the set's.

    Raises:
        ArtefactError: nothing usable lies there, or what it means is open.
        MismatchError: it is of other classes, channels or sizes than the dataset.
        DamageError: a file is cut off, or an export's bytes differ from what was written.
        UsageError: an option that contradicts the values.
    """
    path = Path(path)
    found = _read(path, dataset)
    where = str(path)
    if dataset is not None:
        _check_classes(found, dataset, where)
    num_classes = None if dataset is None else dataset.num_classes
    targets, kind, classes, about_labels = understand_labels(found, label_kind, num_classes, where)
    if isinstance(found.images, EncodedImages):
        pixels, scale = _decoded(found, dataset, resolution, where), "bytes"
        about_images = None
    else:
        channels = None if dataset is None else dataset.channels
        array = as_nchw(found.images, channels=channels, where=where)
        array, scale, about_images = understand_values(array, images, where)
        _check_shape(array.shape, dataset, resolution, where)
        pixels = array
    if len(pixels) != len(targets):
        raise ArtefactError(f"{where}: {len(pixels)} images, but {len(targets)} labels")
    of_dataset = dataset is not None and found.dataset_id == dataset.id
    findings: tuple[Finding | None, ...] = (*found.findings, about_images, about_labels)
    if not found.own_export:
        findings += (
            _about_layout(found, pixels.shape),
            _about_order(found, targets, classes),
            _about_whitening(path, scale, dataset),
        )
    elif dataset is not None and not of_dataset:
        findings += (_of_another(found, dataset),)
    return DistilledSet(
        images_nchw=tensor_of(pixels),
        scale=scale,
        targets_nk=targets,
        label_kind=kind,
        labels=classes,
        ids=found.ids if of_dataset else None,
        classes=found.class_names,
        name=path.name if found.own_export or path.is_dir() else path.stem,
        format=found.format,
        findings=tuple(finding for finding in findings if finding),
    )


def _about_layout(found: Found, shape: tuple[int, ...]) -> Finding | None:
    """Images that were scaled and cropped, and rows of values that may have another order."""
    images, (_, channels, side, _) = found.images, shape
    if isinstance(images, EncodedImages):
        if images.sides == {(side, side)}:
            return None
        return Finding(
            about="image sizes",
            taken_as=f"{side}x{side} pixels, scaled and cropped as for evaluation",
            because=f"they measure {_spread(images.sides)} pixels",
        )
    if images.ndim != 2 or channels == 1:
        return None
    return Finding(
        about="rows of pixels",
        taken_as="one channel after the other",
        because=f"an image is a row of {images.shape[1]} values, in an order that nothing says",
    )


def _about_order(
    found: Found,
    targets_nk: npt.NDArray[np.float32],
    classes_n: npt.NDArray[np.int64],
) -> Finding | None:
    """Rows of labels that mostly contradict the classes beside them: perhaps of another order."""
    if found.classes_n is None:
        return None
    agreeing = int((targets_nk.argmax(axis=1) == classes_n).sum())
    if 2 * agreeing >= len(classes_n):
        return None
    return Finding(
        about="order of soft labels",
        taken_as="the dataset's classes",
        because=f"the largest is that of the image's class for {agreeing} of {len(classes_n)} "
        "images only; labels in another order of the classes would look so, too",
    )


def _about_whitening(
    path: Path, scale: str, dataset: beton_builder.Dataset | None
) -> Finding | None:
    """MTT calls images that were whitened before they were distilled `images_zca_…`."""
    named = "zca" in path.stem.lower().split("_")
    if not named or scale != "normalised" or dataset is None or dataset.whitening_id:
        return None
    return Finding(
        about="whitening",
        taken_as="none",
        because=f"{dataset.path} has none, though the file's name says ZCA; for images that were "
        "whitened, give a dataset built with --normalisation zca",
    )


def _of_another(found: Found, dataset: beton_builder.Dataset) -> Finding:
    return Finding(
        about="dataset",
        taken_as=dataset.name,
        because=f"its classes are the same; the set was made from dataset {found.dataset_id}, and "
        f"{dataset.path} is {dataset.id}",
    )


def _read(path: Path, dataset: beton_builder.Dataset | None) -> Found:
    if not path.exists():
        raise ArtefactError(f"there is nothing at {path}; give the file or folder of a set")
    if path.is_dir() and is_own(path):
        return read_own(path)
    if path.suffix.lower() in TENSOR_SUFFIXES:
        return read_tensor_file(path)
    if path.suffix.lower() in NPZ_SUFFIXES:
        return read_npz(path)
    if path.suffix.lower() in HDF5_SUFFIXES:
        return read_hdf5(path)
    if files := shard_files(path, ".parquet"):
        return replace(read_parquet(files, path), ids=None)
    if files := shard_files(path, ".tar"):
        return replace(read_webdataset(files, path), ids=None)
    if path.is_dir():
        if (path / MTT_IMAGES).is_file():
            return read_tensor_file(path / MTT_IMAGES)
        if is_image_folder(path):
            return read_image_folder(path, None if dataset is None else dataset.classes)
    raise ArtefactError(
        f"{path} is no distilled set of a kind known here. Looked for: .pt (tensors), .npz, HDF5 "
        "(.h5), .parquet, .tar (WebDataset), a folder of images by class, a folder with "
        f"{MTT_IMAGES} and labels_best.pt, or one that engine export or learn-labels wrote"
    )


def _check_classes(found: Found, dataset: beton_builder.Dataset, where: str) -> None:
    if found.class_names is None or found.class_names == dataset.classes:
        return
    if len(found.class_names) != dataset.num_classes:
        raise MismatchError(
            f"{where} has {len(found.class_names)} classes, and {dataset.path} has "
            f"{dataset.num_classes}; give the --data that the set belongs to"
        )
    pairs = zip(found.class_names, dataset.classes, strict=True)
    number, (its, ours) = next((n, pair) for n, pair in enumerate(pairs) if pair[0] != pair[1])
    raise MismatchError(
        f"{where}: class {number} is {its!r} there, and {ours!r} in {dataset.path}; give the "
        "--data that the set belongs to"
    )


def _decoded(
    found: Found, dataset: beton_builder.Dataset | None, resolution: int | None, where: str
) -> npt.NDArray[np.uint8]:
    images = found.images
    assert isinstance(images, EncodedImages)
    if not len(images):
        raise ArtefactError(f"{where}: there is no image in it")
    sides = images.sides
    wanted = resolution or _side_of(dataset)
    if len(sides) == 1 and not found.own_export:
        height, width = next(iter(sides))
        _check_shape((len(images), None, height, width), dataset, resolution, where)
        wanted = height
    if wanted is None:
        if len(sides) > 1 or len(set(next(iter(sides)))) > 1:
            raise MismatchError(
                f"{where}: its images measure {_spread(sides)} pixels, and students need one "
                "square size: add --set student.resolution=64"
            )
        wanted = next(iter(sides))[0]
    channels = 3 if dataset is None else dataset.channels
    return images.pixels(wanted, channels).numpy()


def _check_shape(
    shape: tuple[Any, ...],
    dataset: beton_builder.Dataset | None,
    resolution: int | None,
    where: str,
) -> None:
    _, channels, height, width = shape
    if height != width:
        raise MismatchError(f"{where}: expected square images, found {width}x{height} pixels")
    if dataset is None:
        return
    if channels is not None and channels != dataset.channels:
        raise MismatchError(
            f"{where}: expected {dataset.channels} channels, as the images of {dataset.path} "
            f"have, found {channels}"
        )
    expected = resolution or _side_of(dataset)
    if expected is not None and height != expected:
        of = "asked for" if resolution else f"of {dataset.path}"
        raise MismatchError(
            f"{where}: expected images of {expected}x{expected} pixels, {of}, found "
            f"{width}x{height}\nto train and evaluate at that size: "
            f"--set student.resolution={height}"
        )


def _side_of(dataset: beton_builder.Dataset | None) -> int | None:
    square = dataset is not None and dataset.height == dataset.width
    return dataset.height if dataset is not None and square else None


def _spread(sides: set[tuple[int, int]]) -> str:
    heights, widths = [h for h, _ in sides], [w for _, w in sides]
    return f"{min(widths)}x{min(heights)} to {max(widths)}x{max(heights)}"
