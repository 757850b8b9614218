"""The streaming tier: batches decoded from the mapped file, for data that memory does not hold.

In: a dataset's split. Out: epochs of batches, in the order of :mod:`engine.loading.order`, with the
boxes of :mod:`engine.loading.crops`, prepared by the threads of :mod:`engine.loading.crew`.

The file is FFCV's format; neither its loader nor its native library is used. Its loader
overwrites batches, hangs on errors, cannot resume and compiles for seconds in every process; its
``imdecode`` reads whole images with the quick DCT and its ``resize`` takes four times as long as
ours. What remains of an image's 1.2 ms is libjpeg-turbo (1.0) and the resize (0.1).

Memory: ``(prefetch + 1)`` batches, and per thread one decoded image, one crop and one file.
"""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from beton_builder.machine import usable_cores
from engine.loading.batch import Batch, BatchIterator, Geometry, choose_geometry, require_ids
from engine.loading.crew import Crew
from engine.loading.crops import centre_crop, random_resized_crop
from engine.loading.errors import InvalidRequest
from engine.loading.jpeg import choose_decoder
from engine.loading.memory import BatchMemory
from engine.loading.order import EpochPlan, plan_epoch
from engine.loading.pixels import MODE_JPEG, RESAMPLING, ImageReader, use_one_openmp_thread

if TYPE_CHECKING:
    from beton_builder import BetonFile, Dataset

__all__ = ["Streaming"]


class Streaming:
    """One split of a dataset, opened for streaming; holds no image and no thread between epochs.

    ``resolution``: output side in pixels (see :func:`~engine.loading.batch.choose_geometry`).
    ``workers``: decoding threads, by default one per usable core. ``decoder``: "auto", "turbojpeg"
    or "pillow". Raises DecoderMissing, InvalidRequest and beton_builder's MissingSplit.
    """

    tier = "streaming"

    def __init__(
        self,
        dataset: Dataset,
        split: str = "train",
        *,
        resolution: int | None = None,
        workers: int | None = None,
        decoder: str = "auto",
        prefetch: int = 3,
        reason: str = "asked for",
    ) -> None:
        if workers is not None and workers < 1:
            raise InvalidRequest(f"workers: expected at least 1, got {workers}")
        if prefetch < 1:
            raise InvalidRequest(f"prefetch: expected at least 1 batch, got {prefetch}")
        self.split = split
        self.beton: BetonFile = dataset.split(split)
        self.channels = dataset.channels
        self.resolution = resolution
        self.workers = workers or usable_cores()
        self.prefetch = prefetch
        self.reason = reason
        self.memory = BatchMemory(spare=prefetch + 1)
        self.labels = torch.from_numpy(np.array(self.beton.labels, dtype=np.int64))
        has_jpegs = bool((np.asarray(self.beton.modes) == MODE_JPEG).any())
        self.decoder = choose_decoder(decoder) if has_jpegs else None

    @property
    def num_samples(self) -> int:
        return len(self.labels)

    def batches(
        self,
        indices: npt.ArrayLike,
        *,
        batch_size: int,
        view: str = "train",
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str | None = None,
        augment_seed: int = 0,
    ) -> StreamingBatches:
        """One epoch; arguments as in :func:`engine.loading.batches`."""
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
        require_ids(plan.ids, self.num_samples, self.split)
        geometry = choose_geometry(
            self.beton.heights, self.beton.widths, view=view, resolution=self.resolution
        )
        return StreamingBatches(self, plan, geometry, torch.device(device or "cpu"), augment_seed)


class _BatchJob:
    """One batch in the making: its memory, and for every sample what part of it to read."""

    def __init__(
        self,
        source: Streaming,
        ids: npt.NDArray[np.int64],
        geometry: Geometry,
        *,
        epoch: int,
        augment_seed: int,
        pinned: bool,
    ) -> None:
        self.num_items = len(ids)
        self.ids = ids.tolist()
        shape = (len(ids), geometry.height, geometry.width, source.channels)
        if pinned:  # torch's own pool waits for copies to the device that are still under way
            self.images_bhwc = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        else:
            self.images_bhwc = source.memory.take(math.prod(shape)).view(shape)
        self.kind = geometry.kind
        heights, widths = source.beton.heights[ids], source.beton.widths[ids]
        self.places: list[list[int]] = []
        self.mirrors: list[bool] = []
        if self.kind == "random_resized_crop":
            boxes, mirrors = random_resized_crop(
                ids, heights, widths, augment_seed=augment_seed, epoch=epoch
            )
            self.places, self.mirrors = boxes.tolist(), mirrors.tolist()
        elif self.kind == "centre_crop":
            self.places = centre_crop(heights, widths, geometry.height).tolist()

    def do(self, tools: _ThreadTools, item: int) -> None:
        out, sample_id = self.images_bhwc[item], self.ids[item]
        if self.kind == "random_resized_crop":
            tools.reader.read_box(out, sample_id, self.places[item], mirror=self.mirrors[item])
        elif self.kind == "centre_crop":
            tools.reader.read_centre(out, sample_id, self.places[item])
        else:
            tools.reader.read_stored(out, sample_id)


class _ThreadTools:
    def __init__(self, source: Streaming) -> None:
        use_one_openmp_thread()
        self.reader = ImageReader(source.beton, source.decoder)

    def close(self) -> None:
        self.reader.close()


class StreamingBatches(BatchIterator):
    """One epoch of the streaming tier; its threads run while it is referred to."""

    def __init__(
        self,
        source: Streaming,
        plan: EpochPlan,
        geometry: Geometry,
        device: torch.device,
        augment_seed: int,
    ) -> None:
        self._labels = source.labels
        self._device = device
        self._workers = source.workers
        self._num_batches = plan.num_batches
        self._description = {
            "tier": source.tier,
            "reason": source.reason,
            "view": geometry.kind,
            "height": geometry.height,
            "width": geometry.width,
            "channels": source.channels,
            "decoder": source.decoder.name if source.decoder else "none",
            "resampling": "none" if geometry.kind == "stored" else RESAMPLING,
            "workers": source.workers,
            "num_batches": plan.num_batches,
        }

        def open_job(number: int) -> _BatchJob:
            return _BatchJob(
                source,
                plan.batch_ids(number),
                geometry,
                epoch=plan.epoch,
                augment_seed=augment_seed,
                pinned=device.type == "cuda",
            )

        self._crew: Crew[_BatchJob] = Crew(
            plan.num_batches,
            open_job,
            lambda: _ThreadTools(source),
            num_workers=source.workers,
            prefetch=source.prefetch,
        )
        # Also runs at garbage collection and at interpreter exit; must not refer to self.
        self._finalizer = weakref.finalize(self, self._crew.stop)

    def __len__(self) -> int:
        return self._num_batches

    def __next__(self) -> Batch:
        if not self._finalizer.alive:
            raise StopIteration
        try:
            job = self._crew.take()
        except BaseException:
            self.close()
            raise
        if job is None:
            self.close()
            raise StopIteration
        ids = torch.tensor(job.ids, dtype=torch.int64)
        images = job.images_bhwc.permute(0, 3, 1, 2)
        return Batch(
            images.to(self._device, non_blocking=True),
            self._labels[ids].to(self._device, non_blocking=True),
            ids.to(self._device, non_blocking=True),
        )

    def close(self) -> None:
        self._finalizer()

    def describe(self) -> dict[str, Any]:
        """Also where the time went: ``seconds_waited`` for images by whoever iterates,
        ``seconds_idle`` of the average thread, and from them the side that held up the other."""
        waited, idle = self._crew.seconds_waited, self._crew.seconds_idle / self._workers
        return {
            **self._description,
            "seconds_waited": waited,
            "seconds_idle": idle,
            "bottleneck": "loading" if waited > idle else "consumer",
        }
