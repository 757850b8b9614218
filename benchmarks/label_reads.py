"""Reading labels by sample index, warm: our store against numpy and other formats, milliseconds.

The store holds several epochs, and so does none of its peers: other epochs are other files or other
places of a file, and cost a reader nothing. All contestants read the same rows of the same epoch
and give a fresh array each time. A figure is the time of one read, over several sets of rows that
do not fit into the processor's cache together.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import labelstore
from benchmarks import label_peers, synthetic_labels
from benchmarks.errors import BenchmarkError
from benchmarks.label_peers import Read, Rows
from benchmarks.suite import Figure, Progress, figure, medians
from benchmarks.synthetic_labels import SyntheticLogits
from labelstore import LabelStore, LabelView

NUM_ROWS = {1_000: 24, 10_000: 6, 50_000: 3}
"""How many rows are read at a time, and how many sets of them."""

CODECS = {"quantised8": "quantised:8", "topk10": "topk:10"}
EPOCH = 1
SECONDS_A_TURN = 0.4
TIMES_MEMMAP = 1.3
TIMES_FASTER = 10.0
TIMES_OWN_BEST = 1.5
TIMES_NPY = 1.2


class Size(NamedTuple):
    """How much is measured."""

    num_samples: int
    num_classes: int
    num_epochs: int
    rounds: int
    subset: tuple[int, int, int, int]  # epochs, rows, classes, samples


FULL = Size(100_000, 1_000, 3, 9, (50, 500, 100, 10_000))
QUICK = Size(60_000, 16, 2, 1, (5, 50, 100, 200))


def random_rows(num_samples: int, num_rows: int, num_sets: int) -> list[Rows]:
    """Sets of sorted, distinct sample indices, the same in every run."""
    random = np.random.default_rng(num_rows)
    return [np.sort(random.choice(num_samples, num_rows, replace=False)) for _ in range(num_sets)]


def read_time(read: Read, row_sets: Sequence[Rows]) -> Callable[[], float]:
    """A turn: milliseconds of one read, the median over the sets, or those that time allows."""

    def turn() -> float:
        times: list[float] = []
        for rows in row_sets:
            begin = time.perf_counter()
            read(rows)
            times.append(time.perf_counter() - begin)
            if len(times) >= 3 and sum(times) > SECONDS_A_TURN:
                break
        return 1000 * statistics.median(times)

    return turn


def figures(workspace: Path, *, progress: Progress, quick: bool) -> list[Figure]:
    """Random rows of an epoch, then the same rows of all epochs from a materialised subset."""
    size = QUICK if quick else FULL
    return [
        *_random_rows_figures(workspace, size, progress),
        *_materialised_figures(workspace, size, progress),
    ]


def _random_rows_figures(workspace: Path, size: Size, progress: Progress) -> list[Figure]:
    store, logits_nc = _store(workspace / "labels.zarr", size, progress)
    view = store.view()
    logits_nc.tofile(workspace / "flat")
    flat = np.asarray(np.memmap(workspace / "flat", np.float16, "r", shape=logits_nc.shape))
    progress("write the peers' files", 0, 1)
    (workspace / "peers").mkdir()
    peers = label_peers.forms(workspace / "peers", logits_nc)
    zarr_on_ours = label_peers.open_with_zarr(view.folder / "logits")
    peers["zarr_on_ours"] = {"our store": label_peers.zarr_reader(zarr_on_ours, EPOCH)}
    progress("write the peers' files", 1, 1)
    exact: dict[str, Read] = {"ours": _reader(view), "memmap": lambda rows: flat.take(rows, axis=0)}
    by_form = {
        f"{peer}: {form}": read for peer, readers in peers.items() for form, read in readers.items()
    }
    _check_equal({**exact, **by_form}, logits_nc)
    del logits_nc
    os.sync()

    rows: list[Figure] = []
    for num_rows, num_sets in NUM_ROWS.items():
        sorted_sets = random_rows(size.num_samples, num_rows, num_sets)
        random = np.random.default_rng(0)
        unsorted_sets = [random.permutation(each) for each in sorted_sets]
        contestants = {name: read_time(read, sorted_sets) for name, read in exact.items()}
        for name, read in exact.items():
            contestants[f"{name}, unsorted"] = read_time(read, unsorted_sets)
        if num_rows == 1_000:
            more = {**by_form, **_probabilities(view, flat), **_codecs(store)}
            contestants |= {name: read_time(read, sorted_sets) for name, read in more.items()}
        found = medians(
            contestants, rounds=size.rounds, stage=f"read {num_rows:,} rows", progress=progress
        )
        rows += _memmap_figures(num_rows, found)
        if num_rows == 1_000:
            rows += _peer_figures(found, {peer: list(readers) for peer, readers in peers.items()})
    return rows


def _store(path: Path, size: Size, progress: Progress) -> tuple[LabelStore, NDArray[np.float16]]:
    """A store with some epochs, codecs included, and the float16 logits of the measured epoch."""
    logits = SyntheticLogits(size.num_classes)
    store = synthetic_labels.create(
        path, num_samples=size.num_samples, num_classes=size.num_classes
    )
    views = [(codec, [EPOCH]) for codec in CODECS.values()]
    views.insert(0, ("dense", list(range(size.num_epochs))))
    for number, (codec, epochs) in enumerate(views):
        progress("write the store", number, len(views))
        synthetic_labels.write(synthetic_labels.add_view(store, codec), logits, epochs)
    progress("write the store", len(views), len(views))
    return store, logits.block(EPOCH, 0, size.num_samples)[0].astype(np.float16)


def _reader(view: LabelView) -> Read:
    return lambda rows: view.read(EPOCH, rows)


def _codecs(store: LabelStore) -> dict[str, Read]:
    return {name: _reader(store.view(codec=codec)) for name, codec in CODECS.items()}


def _probabilities(view: LabelView, flat: NDArray[np.float16]) -> dict[str, Read]:
    def with_numpy(rows: Rows) -> NDArray[np.float32]:
        probabilities = flat.take(rows, axis=0).astype(np.float32)
        probabilities -= probabilities.max(axis=1, keepdims=True)
        np.exp(probabilities, out=probabilities)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return probabilities

    return {
        "probabilities": lambda rows: view.probabilities(EPOCH, rows),
        "probabilities with numpy": with_numpy,
    }


def _check_equal(readers: dict[str, Read], logits_nc: NDArray[np.float16]) -> None:
    """A contestant that reads other values than were written would be compared in vain."""
    rows = random_rows(len(logits_nc), 100, 1)[0]
    for name, read in readers.items():
        if not np.array_equal(read(rows), logits_nc[rows]):
            raise BenchmarkError(
                f"{name} reads other values than were written; next: `pip install` the versions of "
                "scripts/constraints.txt, or report it"
            )


def _memmap_figures(num_rows: int, found: dict[str, float]) -> list[Figure]:
    same, taken = "np.take of the same rows on one memmap", "np.take of sorted rows on one memmap"
    compared = (
        (f"read_random_{num_rows}", "ours", same, "memmap", 1 / TIMES_MEMMAP),
        (f"read_unsorted_{num_rows}", "ours, unsorted", same, "memmap, unsorted", None),
        (f"read_unsorted_{num_rows}_vs_sorted_take", "ours, unsorted", taken, "memmap", None),
    )
    return [
        _milliseconds(name, found[ours], peer, found[theirs], bar)
        for name, ours, peer, theirs, bar in compared
    ]


def _peer_figures(found: dict[str, float], peers: dict[str, list[str]]) -> list[Figure]:
    """Against each peer's quickest form, which the row names."""

    def best(peer: str) -> tuple[str, float]:
        form = min(peers[peer], key=lambda form: found[f"{peer}: {form}"])
        return f"{peer.replace('_', ' ')}, {form}", found[f"{peer}: {form}"]

    name, ours = "read_random_1000", found["ours"]
    rows = [
        _milliseconds(f"{name}_vs_{peer}", ours, *best(peer), TIMES_FASTER)
        for peer in ("zarr", "tensorstore", "zarrs", "h5py", "parquet")
    ]
    rows += [
        _milliseconds(f"{name}_vs_tensorstore_cached", ours, *best("tensorstore_cached"), None),
        _milliseconds(
            "zarr_reads_ours_vs_own_best",
            best("zarr_on_ours")[1],
            *best("zarr"),
            1 / TIMES_OWN_BEST,
        ),
        _milliseconds(
            "read_probabilities_1000",
            found["probabilities"],
            "numpy: take from one memmap, float32, softmax in place",
            found["probabilities with numpy"],
            None,
        ),
    ]
    dense = "np.take of the same rows, dense, on one memmap"
    rows += [
        _milliseconds(f"{name}_{codec}", found[codec], dense, found["memmap"], None)
        for codec in CODECS
    ]
    return rows


def _materialised_figures(workspace: Path, size: Size, progress: Progress) -> list[Figure]:
    """What each of many students does at its start: open the same rows of all epochs, read all.

    A process opens the store once and the rows of a subset once for every student: the store is
    open already, but for one row.
    """
    num_epochs, num_rows, num_classes, num_samples = size.subset
    path = workspace / "students.zarr"
    store = synthetic_labels.create(path, num_samples=num_samples, num_classes=num_classes)
    view = synthetic_labels.add_view(store)
    epochs = list(range(num_epochs))
    synthetic_labels.write(view, SyntheticLogits(num_classes), epochs)
    indices = random_rows(num_samples, num_rows, 1)[0]
    copy = workspace / "subset.npy"
    np.save(copy, labelstore.materialise(view, epochs, indices))
    opened: dict[str, Callable[[], NDArray[np.float16]]] = {
        "ours": lambda: labelstore.materialise(view, epochs, indices),
        "store too": lambda: labelstore.materialise(
            labelstore.open_store(path).view(), epochs, indices
        ),
        "mapped": lambda: np.load(copy, mmap_mode="r"),
        "loaded": lambda: np.load(copy),
    }
    found = medians(
        {name: _opening_time(open_subset) for name, open_subset in opened.items()},
        rounds=size.rounds,
        stage="materialised rows",
        progress=progress,
    )
    name, rows = "materialised_rows", f"the same {num_epochs} × {num_rows} rows as .npy"
    mapped = f'np.load(mmap_mode="r") of {rows}'
    return [
        _milliseconds(name, found["ours"], mapped, found["mapped"], 1 / TIMES_NPY),
        _milliseconds(
            f"{name}_and_opening_the_store", found["store too"], mapped, found["mapped"], None
        ),
        _milliseconds(
            f"{name}_vs_copy", found["ours"], f"np.load of {rows}", found["loaded"], None
        ),
    ]


def _opening_time(open_subset: Callable[[], NDArray[np.float16]]) -> Callable[[], float]:
    def read(_: Rows) -> NDArray[np.float16]:
        subset = open_subset()
        subset.view(np.uint64).sum()  # as integers: nothing but reading takes time
        return subset

    return read_time(read, [np.empty(0, np.int64)] * 25)


def _milliseconds(
    name: str, value: float, peer: str, peer_value: float, bar: float | None
) -> Figure:
    return figure(name, value, "ms", peer=peer, peer_value=peer_value, bar=bar, less_is_better=True)
