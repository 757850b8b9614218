"""Runs `make_chunk` over ranges and hands the chunks back in order, with bounded memory.

Three ways, which give the same chunks:
- inline: arrays and small jobs; nothing to start.
- threads: copying JPEGs, where reading, checking and hashing all release the GIL.
- processes: decoding many small images, where Python's share would serialise threads.
At most `2 * workers + 2` chunks of about 8 MiB are in flight. Errors come out at the position where
they happened, so the first damaged sample is the same for any number of workers.

Worker processes are started as `python -m beton_builder.chunk_worker`, not by multiprocessing: a
script without a `__main__` guard works, and a worker whose parent was killed reads end-of-file and
leaves. A worker that dies closes its pipe, so the parent stops with a message and never waits.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import accumulate
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, Any

from beton_builder.chunks import Chunk, ChunkRules, make_chunk
from beton_builder.errors import BetonError, DamagedSource, WorkerDied
from beton_builder.sources.samples import Split

WAYS = ("inline", "threads", "processes")
_AHEAD = 2  # requests a worker process holds, so that it never waits for the parent

Range = tuple[int, int]


def chunks_in_order(
    split: Split, rules: ChunkRules, ranges: Sequence[Range], *, way: str, workers: int
) -> Generator[Chunk, None, None]:
    """Yield the chunk of every range, in order. way: one of WAYS.

    Raises DamagedSource as `make_chunk` does, WorkerDied when a process ends without an answer.
    """
    assert way in WAYS
    if way == "inline" or workers == 1:
        return (make_chunk(split, rules, first, stop) for first, stop in ranges)
    if way == "threads":
        return _with_threads(split, rules, ranges, workers)
    return _with_processes(split, rules, ranges, min(workers, len(ranges)))


def _with_threads(
    split: Split, rules: ChunkRules, ranges: Sequence[Range], workers: int
) -> Generator[Chunk, None, None]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="chunks")
    pending: deque[Future[Chunk]] = deque()
    try:
        for first, stop in ranges:
            pending.append(pool.submit(make_chunk, split, rules, first, stop))
            if len(pending) > 2 * workers + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Worker:
    """One worker process and our end of its pipe."""

    def __init__(self, split: Split, rules: ChunkRules) -> None:
        self.pipe, theirs = Pipe()
        self.asked: deque[int] = deque()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        paths = [entry or os.getcwd() for entry in sys.path]  # noqa: PTH109
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "beton_builder.chunk_worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        try:
            self.pipe.send((split, rules))
        except OSError:
            raise self.death("before its first chunk") from None

    def ask(self, position: int, chunk_range: Range) -> None:
        self.asked.append(position)
        try:
            self.pipe.send((position, *chunk_range))
        except OSError:
            raise self.death(f"before samples {chunk_range}") from None

    def answer(self, ranges: Sequence[Range]) -> tuple[int, Chunk | BetonError]:
        try:
            position, result, sizes = self.pipe.recv()
            if isinstance(result, Chunk):
                result.payload = _cut(memoryview(self.pipe.recv_bytes()), sizes)
            else:
                result = DamagedSource(*result)
        except (EOFError, OSError):
            first, stop = ranges[self.asked[0]]
            raise self.death(f"at samples {first}..{stop - 1}") from None
        self.asked.remove(position)
        return position, result

    def death(self, when: str) -> WorkerDied:
        """The error that tells how the process ended."""
        try:
            code = self.process.wait(5)
        except subprocess.TimeoutExpired:
            code = 0
        how = f"exit code {code}"
        if code < 0:
            how = f"signal {signal.Signals(-code).name}"
            how += ", often the sign of too little memory" if code == -signal.SIGKILL else ""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        said = f": {lines[-1]}" if lines else ""
        return WorkerDied(
            f"a worker process died {when} ({how}){said}. Nothing was kept; run the same command "
            "again, with --workers 1 to stay in one process"
        )

    def stop(self) -> None:
        self.pipe.close()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._errors.close()


def _cut(data: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    ends = list(accumulate(sizes))
    return [data[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _with_processes(
    split: Split, rules: ChunkRules, ranges: Sequence[Range], workers: int
) -> Generator[Chunk, None, None]:
    window = _AHEAD * workers + 2
    done: dict[int, Any] = {}
    with ExitStack() as running:
        crew = []
        for _ in range(workers):
            crew.append(_Worker(split, rules))
            running.callback(crew[-1].stop)
        asked = emitted = 0
        while emitted < len(ranges):
            for worker in crew:
                while len(worker.asked) < _AHEAD and asked < min(len(ranges), emitted + window):
                    worker.ask(asked, ranges[asked])
                    asked += 1
            by_pipe: dict[Any, _Worker] = {worker.pipe: worker for worker in crew if worker.asked}
            for pipe in wait(list(by_pipe)):
                assert isinstance(pipe, Connection)
                position, result = by_pipe[pipe].answer(ranges)
                done[position] = result
            while emitted in done:
                result = done.pop(emitted)
                if isinstance(result, BaseException):
                    raise result
                yield result
                emitted += 1
