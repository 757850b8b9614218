"""What a build would do: options checked, the source looked at, sizes estimated.

In:  the arguments of `build_beton`. Out: a `Plan`, which the build follows and `--dry-run` prints.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from beton_builder import images, jpeg
from beton_builder.beton_format import DEFAULT_PAGE_SIZE, SAMPLE, page_size_for
from beton_builder.chunks import ChunkRules
from beton_builder.errors import BadOption
from beton_builder.images import IMAGE_MODES, JPEG_CHECKS, StorageRules
from beton_builder.machine import usable_cores
from beton_builder.normalisation import Choice, check_choice, resolve
from beton_builder.ordered_work import Range
from beton_builder.sources.samples import EncodedSplit, PixelSplit, Source, Split
from beton_builder.whitening import require_one_size

ON_ERROR = ("fail", "skip")
CHUNK_BYTES = 8 << 20
CHUNK_SAMPLES = 1024
# Starting processes takes about half a second each, so they must have more than that to do.
PROCESSES_FROM_SECONDS = 2.0
_SECONDS_PER_IMAGE, _SECONDS_PER_BYTE = 5e-5, 4e-9  # of decoding, by Pillow's overhead and size


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """How one split is built.

    way: of `ordered_work`. weights: (n,) estimated bytes in memory of each sample, which bound the
    chunks. estimated_bytes: of the file; exact: whether that can be relied on. page_size: in bytes,
    grows if it must.
    """

    split: Split
    way: str
    weights: npt.NDArray[np.int64]
    estimated_bytes: int
    exact: bool
    page_size: int

    def ranges(self) -> list[Range]:
        """Consecutive ranges of at most 8 MiB, 1,024 samples and one natural part of the source."""
        ends = np.cumsum(self.weights)
        ranges, first = [], 0
        for part_end in [*self.split.starts()[1:], len(self.split)]:
            while first < part_end:
                before = ends[first] - self.weights[first]
                fitting = int(np.searchsorted(ends, before + CHUNK_BYTES, side="right"))
                stop = min(max(fitting, first + 1), first + CHUNK_SAMPLES, part_end)
                ranges.append((first, stop))
                first = stop
        return ranges


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A checked build. normalisation: resolved, never "auto"."""

    source: Source
    options: dict[str, Any]
    storage: StorageRules
    normalisation: Choice
    on_error: str
    workers: int
    splits: dict[str, SplitPlan]

    @property
    def estimated_bytes(self) -> int:
        return sum(split.estimated_bytes for split in self.splits.values())

    def rules(self, split: str) -> ChunkRules:
        return ChunkRules(
            storage=self.storage,
            num_classes=len(self.source.classes),
            measure=split == "train" and self.normalisation == "measured",
            skip_damaged=self.on_error == "skip",
        )

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {
            "name": self.source.name,
            "format": self.source.format,
            "num_classes": len(self.source.classes),
            "splits": {
                name: {
                    "samples": len(plan.split),
                    "from": self.source.origins[name],
                    "estimated_bytes": plan.estimated_bytes,
                    "way": plan.way,
                }
                for name, plan in self.splits.items()
            },
            "estimated_bytes": self.estimated_bytes,
            "ignored": len(self.source.ignored),
            "workers": self.workers,
            "options": self.options,
        }


def check_options(
    *,
    workers: int | None,
    on_error: str,
    max_resolution: int | None,
    image_mode: str,
    jpeg_quality: int,
    jpeg_check: str,
    normalisation: Choice,
) -> tuple[StorageRules, int]:
    """The storage rules and the number of workers. Raises BadOption, naming what is allowed."""
    for name, value, allowed in (
        ("on_error", on_error, ON_ERROR),
        ("image_mode", image_mode, IMAGE_MODES),
        ("jpeg_check", jpeg_check, JPEG_CHECKS),
    ):
        if value not in allowed:
            raise BadOption(f"unknown {name} {value!r}; expected one of {', '.join(allowed)}")
    if workers is not None and workers < 1:
        raise BadOption(f"workers is {workers}; expected at least 1")
    if max_resolution is not None and not 1 <= max_resolution <= images.MAX_SIDE:
        raise BadOption(f"max_resolution is {max_resolution}; expected 1..{images.MAX_SIDE} pixels")
    if not 1 <= jpeg_quality <= 100:
        raise BadOption(f"jpeg_quality is {jpeg_quality}; expected 1..100")
    check_choice(normalisation)
    rules = StorageRules(
        image_mode=image_mode,
        max_resolution=max_resolution,
        jpeg_quality=jpeg_quality,
        jpeg_check=jpeg_check,
    )
    return rules, workers or usable_cores()


def make_plan(
    source: Source, storage: StorageRules, *, normalisation: Choice, on_error: str, workers: int
) -> Plan:
    """Look at the first sample of each split and decide how to build it.

    Raises BadOption for a whitening of arrays of several sizes, or of too large ones.
    """
    arrays = [split for split in source.splits.values() if isinstance(split, PixelSplit)]
    if normalisation == "zca" and arrays:
        sizes = [storage.resized(*split.shape[:2]) for split in arrays]
        require_one_size(*zip(*sizes, strict=True))
    given = dict(normalisation) if isinstance(normalisation, Mapping) else normalisation
    return Plan(
        source=source,
        options={
            "image_mode": storage.image_mode,
            "max_resolution": storage.max_resolution,
            "jpeg_quality": storage.jpeg_quality,
            "jpeg_check": storage.jpeg_check,
            "normalisation": given,
            "on_error": on_error,
        },
        storage=storage,
        normalisation=resolve(normalisation, source),
        on_error=on_error,
        workers=workers,
        splits={
            name: _plan_split(split, storage, workers) for name, split in source.splits.items()
        },
    )


def _plan_split(split: Split, storage: StorageRules, workers: int) -> SplitPlan:
    count, page_size = len(split), DEFAULT_PAGE_SIZE
    if isinstance(split, PixelSplit):
        height, width = storage.resized(*split.shape[:2])
        changed = storage.image_mode == "jpeg" or (height, width) != split.shape[:2]
        kind = "decode" if changed else "block"
        per_sample = height * width * 3
        weights = np.full(count, max(per_sample, math.prod(split.shape)), np.int64)
    else:
        assert isinstance(split, EncodedSplit)
        kind, per_sample, growth = _look_at_first(split, storage)
        weights = np.maximum(split.encoded_sizes, 1) * growth
        if kind == "copy":
            page_size = _page_size(int(split.encoded_sizes.max(initial=0)))
    return SplitPlan(
        split=split,
        way=_way_to_run(kind, weights, workers),
        weights=weights,
        estimated_bytes=count * (per_sample + SAMPLE.itemsize),
        exact=kind in ("block", "copy"),
        page_size=page_size,
    )


def _page_size(largest: int) -> int:
    try:
        return page_size_for(largest)
    except ValueError:
        return DEFAULT_PAGE_SIZE  # that sample is refused by name when its turn comes


def _look_at_first(split: EncodedSplit, storage: StorageRules) -> tuple[str, int, int]:
    """("copy" or "decode", stored bytes per sample, bytes in memory per encoded byte).

    Judged by the first sample that is whole; photographs decode to about eight times their bytes.
    """
    average = int(split.encoded_sizes.mean()) if len(split) else 0
    for index in range(min(len(split), 8)):
        data = split.read(index, index + 1)[0]
        if not isinstance(data, bytes):
            continue
        try:
            if data[:3] == images.JPEG_MAGIC and storage.image_mode != "raw":
                header = jpeg.read_header(data)
                size = (header.height, header.width)
                if header.components != 4 and storage.resized(*size) == size:
                    return "copy", average, 1
            stored = images.store(data, storage)
        except jpeg.ImageProblem:
            continue
        growth = max(8, -(-len(stored.payload) // len(data)))
        return "decode", len(stored.payload), growth
    return "decode", average, 8


def _way_to_run(kind: str, weights: npt.NDArray[np.int64], workers: int) -> str:
    if kind == "block" or workers == 1:
        return "inline"
    seconds = len(weights) * _SECONDS_PER_IMAGE + float(weights.sum()) * _SECONDS_PER_BYTE
    return "processes" if kind == "decode" and seconds > PROCESSES_FROM_SECONDS else "threads"


def largest_page(needed: int) -> int:
    """The page size for a sample of `needed` bytes. Raises BadOption beyond the format's limit."""
    try:
        return page_size_for(needed)
    except ValueError as error:
        raise BadOption(f"{error}; lower --max-resolution, or use --image-mode jpeg") from error
