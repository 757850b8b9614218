"""The resident tier: a subset's images in memory as uint8, read once, gathered by index.

In: a dataset's split and a subset of it. Out: :class:`Resident`, whose batches are gathers. For
everything that fits (CIFAR-100: 147 MiB): no thread, no decoding, no cost between epochs; a batch
of 256 CIFAR images takes about 140 µs, most of it waiting for memory. Needs neither ffcv nor any
JPEG library (JPEGs are then decoded by Pillow).

Raw images of one size are copied out of the mapped file in one strided gather, whatever the order
of the subset and the layout of the file's pages; everything else goes through the streaming tier
once, in its plain view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from engine.loading.batch import Batch, BatchIterator, choose_geometry, require_ids
from engine.loading.errors import InvalidRequest, TierUnsuitable
from engine.loading.order import EpochPlan, plan_epoch
from engine.loading.pixels import MODE_JPEG

if TYPE_CHECKING:
    from beton_builder import BetonFile, Dataset

__all__ = ["Resident", "load_resident"]

READ_BATCH = 128


class Resident:
    """Images of a subset in memory, on one device.

    ``images``: uint8 (n, C, H, W) tensor; channels last in memory is fastest. ``labels``, ``ids``:
    int64 (n,); ids are positions in the dataset's split, in any order, each once. ``view`` says
    what was done to the images ("stored" or "centre_crop"), ``reason`` why they are resident.
    """

    tier = "resident"

    def __init__(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        ids: torch.Tensor,
        *,
        view: str = "stored",
        reason: str = "asked for",
    ) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise InvalidRequest(
                f"images: expected uint8 (n, C, H, W), got {images.dtype} {tuple(images.shape)}"
            )
        if labels.shape != (len(images),) or ids.shape != (len(images),):
            raise InvalidRequest(
                f"labels and ids: expected ({len(images)},) like the images, got "
                f"{tuple(labels.shape)} and {tuple(ids.shape)}"
            )
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.labels = labels.to(images.device, torch.int64)
        self.ids = ids.to(images.device, torch.int64)
        self.view = view
        self.reason = reason
        num, channels, height, width = images.shape
        self._shape_hwc = (height, width, channels)
        self._rows = self.images.permute(0, 2, 3, 1).reshape(num, height * width * channels)
        self._sorted_ids, self._positions = _lookup(self.ids.cpu().numpy())

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        return self.images.device

    def positions(self, ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Where sample ids (k,) lie in :attr:`images`, int64 (k,). Raises InvalidRequest."""
        wanted = np.asarray(ids, dtype=np.int64)
        if self._sorted_ids is None:  # ids are 0 … n-1
            require_ids(wanted, len(self), "resident")
            return wanted
        found = np.searchsorted(self._sorted_ids, wanted).clip(max=max(len(self) - 1, 0))
        missing = wanted[self._sorted_ids[found] != wanted] if len(self) else wanted
        if missing.size:
            raise InvalidRequest(
                f"sample {int(missing[0])} is not resident ({len(self)} samples are); "
                "load it with load_resident(…, indices=…)"
            )
        return self._positions[found]

    def batch(self, ids: npt.ArrayLike) -> Batch:
        """The samples with these ids (k,), any order, repeats allowed, as one :class:`Batch`."""
        return self.take(self.positions(ids))

    def take(self, positions: npt.NDArray[np.int64]) -> Batch:
        """The samples at these positions (k,) int64 of :attr:`images`, as one :class:`Batch`."""
        where = torch.from_numpy(positions)
        if self.device.type == "cpu":
            # One thread moves 8 GB/s; a team of OpenMP threads costs more than it brings for so
            # small a copy (2.6 M against 0.05 M images/s beside a busy core).
            rows = torch.from_numpy(self._rows.numpy()[positions])
        else:
            where = where.to(self.device, non_blocking=True)
            rows = self._rows.index_select(0, where)
        images_bchw = rows.view(-1, *self._shape_hwc).permute(0, 3, 1, 2)
        return Batch(images_bchw, self.labels[where], self.ids[where])

    def batches(
        self,
        indices: npt.ArrayLike,
        *,
        batch_size: int,
        view: str = "plain",
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str | None = None,
        augment_seed: int = 0,
    ) -> ResidentBatches:
        """One epoch; arguments as in :func:`engine.loading.batches`.

        Draws nothing from ``augment_seed``: resident images are augmented in whole batches, by
        engine.augment. Raises TierUnsuitable for random crops: view "crop", and view "train" of
        images that are centre crops.
        """
        if view == "crop" or (view == "train" and self.view != "stored"):
            raise TierUnsuitable(
                f"random resized crops need whole images; the resident ones are {self.view}. "
                'Next: tier="streaming", or view="plain" with augmentation of whole batches'
            )
        plan = plan_epoch(
            indices,
            batch_size=batch_size,
            seed=seed,
            epoch=epoch,
            start=start,
            shuffle=shuffle,
            drop_last=drop_last,
            rank=rank,
            world=world,
        )
        return ResidentBatches(self, plan, None if device is None else torch.device(device))


class ResidentBatches(BatchIterator):
    """One epoch of gathers; ``device`` None leaves batches where the images are."""

    def __init__(self, source: Resident, plan: EpochPlan, device: torch.device | None) -> None:
        self._source = source
        self._positions = source.positions(plan.ids)
        self._plan = plan
        self._device = device
        self._next = 0

    def __len__(self) -> int:
        return self._plan.num_batches

    def __next__(self) -> Batch:
        if self._next >= self._plan.num_batches:
            raise StopIteration
        first, stop = self._plan.bounds[self._next : self._next + 2]
        self._next += 1
        batch = self._source.take(self._positions[first:stop])
        if self._device is None or self._device == self._source.device:
            return batch
        return Batch(*(part.to(self._device) for part in batch))

    def close(self) -> None:
        self._next = self._plan.num_batches

    def describe(self) -> dict[str, Any]:
        height, width, channels = self._source._shape_hwc
        return {
            "tier": self._source.tier,
            "reason": self._source.reason,
            "view": self._source.view,
            "height": height,
            "width": width,
            "channels": channels,
            "device": str(self._source.device),
            "num_batches": self._plan.num_batches,
        }


def load_resident(
    dataset: Dataset,
    split: str = "train",
    *,
    indices: npt.ArrayLike | None = None,
    resolution: int | None = None,
    device: torch.device | str = "cpu",
    workers: int | None = None,
    reason: str = "asked for",
) -> Resident:
    """Read a subset once.

    ``indices``: (n,) sample ids, all by default; kept in this order. ``resolution``: needed when
    images differ in size; then each is the centre crop that evaluation sees. ``workers``: threads
    for decoding. Raises InvalidRequest, ResolutionNeeded, DamagedImage.
    """
    from engine.loading.streaming import Streaming

    beton = dataset.split(split)
    ids = np.arange(beton.num_samples) if indices is None else np.asarray(indices)
    ids = ids.astype(np.int64)
    require_ids(ids, beton.num_samples, split)
    if len(np.unique(ids)) != len(ids):
        raise InvalidRequest("indices: expected every sample once, got repeated ids")
    geometry = choose_geometry(beton.heights, beton.widths, view="plain", resolution=resolution)
    modes = np.asarray(beton.modes)
    if geometry.kind == "stored" and not (modes[ids] == MODE_JPEG).any():
        images_nhwc = torch.from_numpy(
            _gather_raw(beton, ids, (geometry.height, geometry.width), dataset.channels)
        )
    else:
        shape = (len(ids), geometry.height, geometry.width, dataset.channels)
        images_nhwc = torch.empty(shape, dtype=torch.uint8)
        stream = Streaming(dataset, split, resolution=resolution, workers=workers)
        position = 0
        with stream.batches(ids, batch_size=READ_BATCH, view="plain", shuffle=False) as epoch:
            for images_bchw, _, _ in epoch:
                stop = position + len(images_bchw)
                images_nhwc[position:stop] = images_bchw.permute(0, 2, 3, 1)
                position = stop
    labels = torch.from_numpy(np.asarray(beton.labels, dtype=np.int64)[ids])
    return Resident(
        images_nhwc.to(device).permute(0, 3, 1, 2),
        labels,
        torch.from_numpy(ids),
        view=geometry.kind,
        reason=reason,
    )


def _gather_raw(
    beton: BetonFile, ids: npt.NDArray[np.int64], size: tuple[int, int], channels: int
) -> npt.NDArray[np.uint8]:
    """Raw images of one size as uint8 (n, H, W, C): row k of a view that begins at every byte of
    the file is the sample stored there, so that one fancy index copies the whole subset."""
    height, width = size
    pointers = np.asarray(beton.pointers)[ids]
    length = height * width * 3
    if not len(pointers):
        return np.empty((0, height, width, channels), np.uint8)
    whole_file = np.memmap(beton.path, dtype=np.uint8, mode="r")
    starts_at_every_byte = np.lib.stride_tricks.as_strided(
        whole_file,
        shape=(len(whole_file) - length + 1, height * width * channels),
        strides=(1, 3 // channels),
        writeable=False,
    )
    return starts_at_every_byte[pointers].reshape(len(ids), height, width, channels)


def _lookup(
    ids: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64]]:
    """Sorted ids with their positions, or (None, …) when the ids are 0 … n-1 and need no table."""
    if np.array_equal(ids, np.arange(len(ids))):
        return None, ids
    order = np.argsort(ids, kind="stable")
    sorted_ids = ids[order]
    if (sorted_ids[1:] == sorted_ids[:-1]).any():
        raise InvalidRequest("ids: expected every sample once, got repeated ids")
    return sorted_ids, order
