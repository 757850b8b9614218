"""Builds the two files of one split: chunks in, `.beton` and sample records out, in one pass.

In:  a plan and a folder to write to. Out: the files, fsynced, and what the manifest says of them.
Payload bytes are hashed once, sample by sample; nothing is read back but the small records file.
"""

import hashlib
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from beton_builder.beton_format import SampleColumns
from beton_builder.beton_writer import BetonWriter, PageTooSmall
from beton_builder.errors import BadSource
from beton_builder.manifest import SplitDigest
from beton_builder.normalisation import Histogram, empty_histogram
from beton_builder.ordered_work import chunks_in_order
from beton_builder.plan import Plan, largest_page
from beton_builder.progress import Progress, report
from beton_builder.sample_records import RecordWriter
from beton_builder.staging import BETON_FILES
from beton_builder.whitening import require_one_size


class BuiltSplit(NamedTuple):
    """A written split. entry: its part of the manifest; labels: (n,) int64 of the kept samples;
    histogram: pixel counts if they were asked for; heights, widths: all that occur;
    skipped: [{"sample", "reason"}]."""

    entry: dict[str, Any]
    labels: npt.NDArray[np.int64]
    all_grey: bool
    histogram: Histogram
    heights: set[int]
    widths: set[int]
    skipped: list[dict[str, str]]


def build_split(plan: Plan, name: str, folder: Path, progress: Progress | None) -> BuiltSplit:
    """Write split `name` of the plan into `folder`.

    The page size is 8 MiB or the power of two that the largest sample needs; if that shows late,
    the file is begun again. Raises BadSource, DamagedSource, BadOption (a sample larger than any
    page), WorkerDied, OSError.
    """
    page_size = plan.splits[name].page_size
    while True:
        try:
            return _write_split(plan, name, folder, page_size, progress)
        except PageTooSmall as too_small:
            page_size = largest_page(too_small.needed)


def _write_split(
    plan: Plan, name: str, folder: Path, page_size: int, progress: Progress | None
) -> BuiltSplit:
    split_plan = plan.splits[name]
    split, rules = split_plan.split, plan.rules(name)
    file, records = (f"{name}{end}" for end in BETON_FILES)
    digest, all_grey, histogram = SplitDigest(), True, empty_histogram()
    labels: list[npt.NDArray[np.int64]] = []
    heights: set[int] = set()
    widths: set[int] = set()
    modes = np.zeros(2, np.int64)
    skipped: list[dict[str, str]] = []
    chunks = chunks_in_order(
        split, rules, split_plan.ranges(), way=split_plan.way, workers=plan.workers
    )
    with (
        closing(chunks),
        BetonWriter(folder / file, num_slots=len(split), page_size=page_size) as writer,
        RecordWriter(folder / records) as sidecar,
    ):
        for chunk in chunks:
            columns = SampleColumns(
                split.labels[chunk.positions], chunk.modes, chunk.heights, chunk.widths
            )
            writer.append(chunk.payload, columns)
            sidecar.append(
                names=[split.name_of(position) for position in chunk.positions.tolist()],
                checksums=chunk.checksums,
                sizes=[len(buffer) for buffer in chunk.payload],
                columns=columns,
            )
            digest.add(chunk.checksums, columns)
            labels.append(columns.labels)
            all_grey &= chunk.all_grey
            heights.update(chunk.heights.tolist())
            widths.update(chunk.widths.tolist())
            if plan.normalisation == "zca" and heights:
                require_one_size(heights, widths)  # now, not after a million images
            modes += np.bincount(chunk.modes, minlength=2)
            if chunk.histogram is not None:
                histogram += chunk.histogram
            skipped += [
                {"sample": split.name_of(position), "reason": reason}
                for position, reason in chunk.skipped
            ]
            report(progress, f"build {name}", chunk.stop, len(split))
        if not writer.num_samples:
            first = skipped[0]
            raise BadSource(
                f"no sample of split {name} can be used; {first['sample']} {first['reason']}"
            )
        size = writer.finish()
        sidecar.finish()
    record_bytes = (folder / records).read_bytes()
    entry = {
        "file": file,
        "bytes": size,
        "num_samples": writer.num_samples,
        "slots": len(split),
        "page_size": page_size,
        "jpeg": int(modes[0]),
        "raw": int(modes[1]),
        "samples_sha256": digest.hex(),
        "records": records,
        "records_bytes": len(record_bytes),
        "records_sha256": hashlib.sha256(record_bytes).hexdigest(),
        "from": plan.source.origins[name],
    }
    kept = np.concatenate(labels)
    return BuiltSplit(entry, kept, all_grey, histogram, heights, widths, skipped)
