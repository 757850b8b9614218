"""A process that writes the ImageNet-sized store: `python -m benchmarks.label_scale_writer`.

Arguments: the store, its rank, the number of ranks, the number of epochs. Prints one JSON document
when it is done: when it began and ended (seconds since 1970) and the most anonymous memory it ever
had, in bytes. Starting up, loading compiled code and making up a few blocks of logits come before;
these blocks are then written over and over: the writer does the same work whatever the values.
Without torch.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import labelstore
from benchmarks import synthetic_labels
from labelstore import LabelView
from labelstore.encoding import encode

SAMPLE_SECONDS = 0.02
BLOCKS, BLOCK_ROWS = 4, 2_048


def main(store: str, rank: str, world: str, num_epochs: str) -> None:
    """Write this rank's chunks."""
    _end_with_parent()
    with _peak_anonymous_memory() as peak:
        view = labelstore.open_store(store).view()
        logits = synthetic_labels.SyntheticLogits(view.geometry.num_classes)
        blocks = [logits.block(epoch, 0, BLOCK_ROWS) for epoch in range(BLOCKS)]
        encode(view.geometry, *blocks[0], epoch=0, start_row=0)
        begin = time.time()
        _write(view, blocks, range(int(num_epochs)), rank=int(rank), world=int(world))
        end = time.time()
    print(json.dumps({"begin": begin, "end": end, "rss_anon": peak[0]}))


def _write(
    view: LabelView,
    blocks: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]],
    epochs: range,
    *,
    rank: int,
    world: int,
) -> None:
    ids = synthetic_labels.checkpoint_ids(epochs)
    with view.writer(epochs, ids, rank=rank, world=world, block_rows=BLOCK_ROWS) as writer:
        for start, stop, missing in writer.missing_blocks():
            for epoch in missing:
                logits_bc, labels = blocks[(start // BLOCK_ROWS + epoch) % len(blocks)]
                writer.write(epoch, start, logits_bc[: stop - start], labels[: stop - start])


@contextmanager
def _peak_anonymous_memory() -> Iterator[list[int]]:
    """A list of one number, RssAnon's greatest value so far, sampled while the block runs."""
    peak, ended = [_rss_anon()], threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            peak[0] = max(peak[0], _rss_anon())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def _rss_anon() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/self/status has no RssAnon: this benchmark needs Linux")


def _end_with_parent() -> None:
    """Write no gigabytes for a benchmark that was killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
