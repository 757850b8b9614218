"""A process that dumps labels and can be made to die; run by the tests, never imported by them.

fill STORE RANK WORLD DELAY    dumps the chunks of one rank, DELAY seconds between blocks
crash STORE FROM STEP          for kill points FROM, FROM + STEP, … : dumps into a fresh store and
                               dies just before that system call, dies again while resuming, dumps
                               again, prints whether the tree is that of an undisturbed dump
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import labelstore_cases as cases

from labelstore.encoding import encode
from labelstore.layout import Geometry

BLOCKS_IN_HAND = 3  # what a writer lets be under way
CALLS = ("pwrite", "fsync", "replace", "unlink", "rmdir", "mkdir", "open", "posix_fallocate")


def fill(path: str, rank: str, world: str, delay: str) -> None:
    view = cases.new_view(Path(path)) if world == "1" else None
    view = view or cases.labelstore.open_store(path).view()
    print("started", flush=True)
    with view.writer(
        cases.EPOCHS, cases.CHECKPOINTS, rank=int(rank), world=int(world), block_rows=700
    ) as writer:
        for start, stop, missing in writer.missing_blocks():
            for epoch in missing:
                logits = cases.logits_of(epoch)[start:stop]
                writer.write(epoch, start, logits, cases.LABELS[start:stop])
                time.sleep(float(delay))


def die_before_call(number: int) -> None:
    """Kills this process just before its `number`-th call that changes anything on disk."""
    counted = 0

    def counting(call):
        def counted_call(*arguments, **options):
            nonlocal counted
            counted += 1
            if counted == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return counted_call

    for name in CALLS:
        setattr(os, name, counting(getattr(os, name)))


def in_child(work) -> int:
    """Exit status of `work()` in a forked process (no threads run here, so forking is safe)."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(f"failed: {error!r}", flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def load_compiled_code() -> None:
    """Once here, not once in each of hundreds of children."""
    geometry = Geometry(num_samples=1, num_classes=cases.NUM_CLASSES, chunk_rows=1)
    encode(geometry, cases.logits_of(0)[:1], cases.LABELS[:1], epoch=0, start_row=0)


def crash(path: str, first: str, step: str) -> None:
    os.fsync = lambda _fd: None  # a kill loses nothing that was not synced; this is 5 times faster
    load_compiled_code()
    root = Path(path)
    whole = root / "whole"
    in_child(lambda: cases.filled(whole))
    expected = cases.bytes_of(whole)
    total_blocks = len(cases.EPOCHS) * 8  # 2048, 2048 and 904 rows in blocks of 700
    point, died = int(first), True
    while died:
        store, log = root / f"point-{point}", root / f"log-{point}"

        def dump(store=store, log=log) -> None:
            view = cases.new_view(store)
            with view.writer(cases.EPOCHS, cases.CHECKPOINTS, block_rows=700) as writer:
                for start, stop, missing in writer.missing_blocks():
                    for epoch in missing:
                        logits = cases.logits_of(epoch)[start:stop]
                        writer.write(epoch, start, logits, cases.LABELS[start:stop])
                        with log.open("a") as file:
                            file.write("x")

        died = in_child(lambda point=point, dump=dump: (die_before_call(point), dump())) != 0
        in_child(lambda dump=dump: (die_before_call(random.randrange(1, 90)), dump()))
        again = in_child(dump)
        written = log.stat().st_size
        same = cases.bytes_of(store) == expected
        # The blocks in hand when a process died may be done twice, and nothing else.
        good = again == 0 and same and written <= total_blocks + 2 * BLOCKS_IN_HAND
        print(f"{'good' if good else 'BAD'} {point} {again} {same} {written}", flush=True)
        shutil.rmtree(store)
        log.unlink()
        point += int(step)


if __name__ == "__main__":
    {"fill": fill, "crash": crash}[sys.argv[1]](*sys.argv[2:])
