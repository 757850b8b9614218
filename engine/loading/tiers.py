"""Which tier serves a split, why, and the one function that iterates over either.

In: a dataset (or an opened tier), indices and (seed, epoch, start). Out: an iterator of batches.
:func:`batches` with a dataset opens the tier anew, which for the resident tier means reading the
images again: to iterate for more than one epoch, call :func:`open_images` once and pass its result.

The resident tier is chosen when the images, as the view shows them, take at most a quarter of the
memory that is free to this process (:mod:`beton_builder.machine`; on the device too; shared by the
ranks of a machine), and random crops of whole images are not asked for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from beton_builder.machine import free_memory
from engine.loading.batch import BatchIterator, Geometry, choose_geometry
from engine.loading.errors import InvalidRequest, TierUnsuitable
from engine.loading.resident import Resident, load_resident
from engine.loading.streaming import Streaming

if TYPE_CHECKING:
    from beton_builder import Dataset

__all__ = ["TierChoice", "batches", "choose_tier", "open_images"]

TIERS = ("auto", "resident", "streaming")
SHARE_OF_FREE_MEMORY = 1 / 4


class TierChoice(NamedTuple):
    """``tier``: "resident" or "streaming"; ``reason``: one line that says why."""

    tier: str
    reason: str


def choose_tier(
    dataset: Dataset,
    split: str = "train",
    *,
    view: str = "train",
    resolution: int | None = None,
    num_samples: int | None = None,
    device: torch.device | str | None = None,
) -> TierChoice:
    """What tier "auto" means for this split and view; ``num_samples``: size of the subset.

    Raises InvalidRequest, ResolutionNeeded and beton_builder's MissingSplit.
    """
    choice, _ = _choose(dataset, split, view, resolution, num_samples, device)
    return choice


def open_images(
    dataset: Dataset,
    split: str = "train",
    *,
    view: str = "train",
    indices: npt.ArrayLike | None = None,
    resolution: int | None = None,
    tier: str = "auto",
    workers: int | None = None,
    device: torch.device | str | None = None,
) -> Resident | Streaming:
    """Open a split once, for any number of epochs of :func:`batches`.

    ``indices``: (n,) sample ids that will be used, all by default; a resident tier holds only
    these. ``device``: where resident images live. Raises InvalidRequest, ResolutionNeeded,
    TierUnsuitable (random crops from the resident tier), DamagedImage.
    """
    if tier not in TIERS:
        raise InvalidRequest(f"tier: expected one of {', '.join(TIERS)}, got {tier!r}")
    wanted = None if indices is None else np.unique(np.asarray(indices, dtype=np.int64))
    num_samples = None if wanted is None else len(wanted)
    choice, geometry = _choose(dataset, split, view, resolution, num_samples, device)
    reason = "asked for" if tier != "auto" else choice.reason
    tier = choice.tier if tier == "auto" else tier
    if tier == "streaming":
        return Streaming(dataset, split, resolution=resolution, workers=workers, reason=reason)
    if geometry.kind == "random_resized_crop":
        raise TierUnsuitable(
            "random resized crops need whole images, which the resident tier does not hold. "
            'Next: tier="streaming", or view="plain"'
        )
    return load_resident(
        dataset,
        split,
        indices=wanted,
        resolution=resolution,
        device=device or "cpu",
        workers=workers,
        reason=reason,
    )


def batches(
    source: Dataset | Resident | Streaming,
    indices: npt.ArrayLike,
    *,
    split: str = "train",
    batch_size: int,
    seed: int = 0,
    epoch: int = 0,
    start: int = 0,
    shuffle: bool = True,
    drop_last: bool = False,
    view: str = "train",
    resolution: int | None = None,
    tier: str = "auto",
    rank: int = 0,
    world: int = 1,
    workers: int | None = None,
    device: torch.device | str | None = None,
    augment_seed: int = 0,
) -> BatchIterator:
    """One epoch of ``indices`` in batches (images uint8 (b, C, H, W), labels (b,), ids (b,)).

    ``source``: a dataset, or what :func:`open_images` returned (``split``, ``resolution``,
    ``tier`` and ``workers`` then stay as opened). ``indices``: (n,) sample ids. ``batch_size``:
    global, over all ``world`` ranks; this one gets its contiguous share of each batch. ``seed``,
    ``epoch``: the order. ``start``: first batch, to resume in mid-epoch. ``shuffle`` False keeps
    the order of ``indices``. ``drop_last``: leave out a partial last batch. ``view``: "train",
    "crop" or "plain", see :func:`~engine.loading.batch.choose_geometry`. ``device``: where batches
    go.
    ``augment_seed``: with the epoch and the sample's id it decides crop and mirror.

    The result is an iterator and a context manager, has a length, and ``describe()`` tells the
    tier and why. Equal for any number of workers. Raises InvalidRequest, ResolutionNeeded,
    TierUnsuitable; DamagedImage where the batch with the damaged sample would have come.
    """
    if not isinstance(source, Resident | Streaming):
        source = open_images(
            source,
            split,
            view=view,
            indices=indices,
            resolution=resolution,
            tier=tier,
            workers=workers,
            device=device,
        )
    return source.batches(
        indices,
        batch_size=batch_size,
        view=view,
        seed=seed,
        epoch=epoch,
        start=start,
        shuffle=shuffle,
        drop_last=drop_last,
        rank=rank,
        world=world,
        device=device,
        augment_seed=augment_seed,
    )


def _choose(
    dataset: Dataset,
    split: str,
    view: str,
    resolution: int | None,
    num_samples: int | None,
    device: torch.device | str | None,
) -> tuple[TierChoice, Geometry]:
    with dataset.split(split) as beton:
        geometry = choose_geometry(beton.heights, beton.widths, view=view, resolution=resolution)
        count = beton.num_samples if num_samples is None else num_samples
    if geometry.kind == "random_resized_crop":
        reason = f"random resized crops to {geometry.height} px are decoded every epoch"
        return TierChoice("streaming", reason), geometry
    shape = f"{dataset.channels}×{geometry.height}×{geometry.width}"
    needed = count * dataset.channels * geometry.height * geometry.width
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    free = _free_memory(torch.device(device or "cpu")) // ranks
    facts = f"{count:,} images of {shape} take {_mib(needed)}, of {_mib(free)} free"
    if needed <= free * SHARE_OF_FREE_MEMORY:
        return TierChoice("resident", f"{facts}: under a quarter"), geometry
    return TierChoice("streaming", f"{facts}: over a quarter"), geometry


def _free_memory(device: torch.device) -> int:
    free = free_memory()
    if device.type == "cuda":
        free = min(free, torch.cuda.mem_get_info(device)[0])
    return free


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
