"""The peers, each in its best form on this machine, as iterables of batches (images, labels).

Stock FFCV is imported here and nowhere else outside the tests. Importing it and making a Loader
changes torch's number of threads for the whole process; both are undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Subset, TensorDataset

from benchmarks.errors import PeerMissing

__all__ = [
    "TorchIndexing",
    "build_with_ffcv",
    "ffcv_jpegs",
    "ffcv_raw",
    "import_ffcv",
    "torchvision_folder",
    "torchvision_gather",
    "torchvision_tensors",
]

FFCV = "ffcv 1.0.2"
# Loaders stay alive to the end of the process: collecting one makes numba print a traceback.
_LOADERS: list[Iterable[Any]] = []


@contextmanager
def threads_kept() -> Iterator[None]:
    """Give torch back the threads it had: ``import ffcv`` and its Loader both set them."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def import_ffcv() -> None:
    """Import what the Loaders below need. Raises PeerMissing."""
    with threads_kept():
        try:
            for module in ("fields.basics", "fields.rgb_image", "loader", "transforms"):
                import_module(f"ffcv.{module}")
        except ImportError as error:
            raise _ffcv_missing() from error


def ffcv_raw(beton: Path, *, batch_size: int, workers: int) -> Iterable[Any]:
    """Stock FFCV on raw images of one size, shuffled, as uint8 (b, H, W, C)."""
    with threads_kept():
        try:
            from ffcv.fields.rgb_image import SimpleRGBImageDecoder
        except ImportError as error:
            raise _ffcv_missing() from error
        return _ffcv_loader(beton, [SimpleRGBImageDecoder()], batch_size, workers, None)


def ffcv_jpegs(
    beton: Path, *, resolution: int, batch_size: int, workers: int, indices: np.ndarray
) -> Iterable[Any]:
    """Stock FFCV's RandomResizedCrop and mirror on JPEGs, as uint8 (b, H, W, C).

    Its best form here: no ToTorchImage (which copies the batch; twice as slow measured), the page
    cache, three batches ahead.
    """
    with threads_kept():
        try:
            from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
            from ffcv.transforms import RandomHorizontalFlip
        except ImportError as error:
            raise _ffcv_missing() from error
        decode = [
            RandomResizedCropRGBImageDecoder((resolution, resolution)),
            RandomHorizontalFlip(),
        ]
        return _ffcv_loader(beton, decode, batch_size, workers, indices)


def _ffcv_loader(
    beton: Path, decode: list[Any], batch_size: int, workers: int, indices: np.ndarray | None
) -> Iterable[Any]:
    from ffcv.fields.basics import IntDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import Squeeze, ToTensor

    loader: Iterable[Any] = Loader(
        str(beton),
        batch_size=batch_size,
        num_workers=workers,
        order=OrderOption.RANDOM,
        os_cache=True,
        drop_last=False,
        batches_ahead=3,
        indices=indices,
        pipelines={
            "image": [*decode, ToTensor()],
            "label": [IntDecoder(), ToTensor(), Squeeze(1)],
        },
    )
    _LOADERS.append(loader)
    return loader


def _ffcv_missing() -> PeerMissing:
    return PeerMissing(
        "stock FFCV, the peer of this suite, is not installed. Next: `scripts/setup --with-ffcv`, "
        "or `pip install ffcv==1.0.2`"
    )


def torchvision_tensors(
    images: torch.Tensor, labels: torch.Tensor, *, batch_size: int, workers: int
) -> Iterable[Any]:
    """TensorDataset and DataLoader as its users write it: one sample at a time, then collated."""
    return DataLoader(
        TensorDataset(images, labels),
        batch_size=batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def torchvision_gather(
    images: torch.Tensor, labels: torch.Tensor, *, batch_size: int
) -> Iterable[Any]:
    """The same with a BatchSampler as sampler, so that a batch is one indexing of the tensors."""
    dataset = TensorDataset(images, labels)
    sampler = BatchSampler(RandomSampler(dataset), batch_size, drop_last=False)
    return DataLoader(dataset, sampler=sampler, batch_size=None)


class TorchIndexing:
    """Without any loader: a permutation, and indexing of both tensors batch by batch."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, *, batch_size: int) -> None:
        self._images, self._labels, self._batch_size = images, labels, batch_size

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for ids in torch.randperm(len(self._labels)).split(self._batch_size):
            yield self._images[ids], self._labels[ids]


def torchvision_folder(
    folder: Path, *, resolution: int, batch_size: int, workers: int, indices: Sequence[int]
) -> Iterable[Any]:
    """ImageFolder, RandomResizedCrop and mirror on PIL images, as uint8 (b, C, H, W)."""
    from torchvision import datasets, transforms

    pipeline = transforms.Compose(
        [
            transforms.RandomResizedCrop(resolution),
            transforms.RandomHorizontalFlip(),
            transforms.PILToTensor(),
        ]
    )
    return DataLoader(
        Subset(datasets.ImageFolder(str(folder), pipeline), indices),
        batch_size=batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def build_with_ffcv(folder: Path, beton: Path, *, workers: int) -> None:
    """Stock FFCV's DatasetWriter from an ImageFolder, JPEGs at their full size."""
    with threads_kept():
        try:
            from ffcv.fields import IntField, RGBImageField
            from ffcv.writer import DatasetWriter
        except ImportError as error:
            raise _ffcv_missing() from error
        from torchvision.datasets import ImageFolder

        fields = {"image": RGBImageField(write_mode="jpg", jpeg_quality=90), "label": IntField()}
        writer = DatasetWriter(str(beton), fields, num_workers=workers)
        with _no_progress_bar():
            writer.from_indexed_dataset(ImageFolder(str(folder)))


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Stock FFCV's writer always draws a bar on stderr, among ours."""
    import ffcv.writer

    original: Callable[..., Any] = ffcv.writer.tqdm

    def silent(*args: Any, **options: Any) -> Any:
        return original(*args, **{**options, "disable": True})

    ffcv.writer.tqdm = silent
    try:
        yield
    finally:
        ffcv.writer.tqdm = original
