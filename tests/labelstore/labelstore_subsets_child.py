"""Processes that materialise the same subset at once, or die; run by the tests, never imported.

race STORE FOLDER          waits for a line on stdin, materialises, prints "made" or "mapped", the
                           inode of the file, and the sum of the values
crash STORE FOLDER FROM STEP   for kill points FROM, FROM + STEP, …: materialises into a fresh
                           folder, dies just before that system call, and prints whether what a
                           reader then finds is whole or absent, and made by the next call
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import numpy as np
from labelstore_child import die_before_call, in_child

import labelstore
from labelstore import subsets

EPOCHS = [4, 0, 4]
ROWS = np.random.default_rng(0).integers(0, 5_000, 300)


def race(store: str, folder: str) -> None:
    view = labelstore.open_store(store).view()
    made = []
    make = subsets._make
    subsets._make = lambda *arguments: (made.append(1), make(*arguments))
    print("ready", flush=True)
    sys.stdin.readline()
    values = labelstore.materialise(view, EPOCHS, ROWS, folder)
    inode = Path(values.filename).stat().st_ino
    print("made" if made else "mapped", inode, zlib.crc32(np.ascontiguousarray(values)))


def crash(store: str, folder: str, first: str, step: str) -> None:
    view = labelstore.open_store(store).view()
    expected = view.read(EPOCHS, ROWS)
    point, died = int(first), True

    def make() -> None:
        labelstore.materialise(view, EPOCHS, ROWS, place)

    while died:
        place = Path(folder) / f"point-{point}"
        died = in_child(lambda: (die_before_call(point), make())) != 0  # noqa: B023
        verdict = labelstore.verify_subsets(place)["ok"] if place.exists() else True
        seen = [np.array_equal(np.load(path), expected) for path in place.glob("*.npy")]
        again = in_child(make) == 0
        values = labelstore.materialise(view, EPOCHS, ROWS, place)
        left = sorted(path.suffix for path in place.iterdir() if path.suffix != ".lock")
        whole = np.array_equal(values, expected) and left == [".json", ".npy"]
        good = verdict and all(seen) and again and whole
        print("good" if good else "BAD", point, verdict, seen, again, left, flush=True)
        point += int(step)


if __name__ == "__main__":
    {"race": race, "crash": crash}[sys.argv[1]](*sys.argv[2:])
