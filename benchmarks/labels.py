"""`engine bench labels`: the label store against numpy, other formats and the disk.

- ``read_random_K``, ``read_unsorted_K``: K rows of one epoch, warm, against np.take on one memmap;
  ``…_vs_PEER``: against other formats; ``materialised_rows``: the same rows of all epochs.
- ``write``: two epochs of 100,000 × 1,000, synced, against np.save.
- ``imagenet_scale_…``: writing 10 GB with two processes, and reading from it.
- ``dump_20_checkpoints``: labelling images against the forward passes alone.

Every part works in a temporary folder of its own (under $TMPDIR), which is removed however the part
ends. Labelling comes last: it changes how this process allocates memory.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import label_dump, label_peers, label_reads, label_scale, label_writes
from benchmarks.suite import Figure, Progress, find_data

PARTS = (label_reads, label_writes, label_scale, label_dump)


def figures(*, progress: Progress, quick: bool) -> list[Figure]:
    """Every row of the suite; ``quick`` takes few classes and one round."""
    find_data(label_dump.SOURCE)
    label_peers.check_installed()
    rows: list[Figure] = []
    for part in PARTS:
        with tempfile.TemporaryDirectory(prefix="engine-bench-") as folder:
            rows += part.figures(Path(folder), progress=progress, quick=quick)
    return rows
