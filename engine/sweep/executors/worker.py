"""A worker process of a sweep: trials come in through a socket, records go back.

Started as a script by its path (see `local`), so that nothing of the engine, and no torch, is
imported before the threads are pinned; this module therefore imports the standard library alone.
`attempt` is one trial on a runner, whichever executor calls it.

A worker writes no files: the driver, the sweep's sole writer, does. It may therefore be killed at
any moment, and is: SIGTERM has its default action, Ctrl-C is left to the driver, and when the
driver dies Linux kills the worker.

Messages are pickles between processes of one run, never files. To the worker: its setup, then lists
of trials. From it: ("ready",), ("progress", seen, total), ("record", id, record as JSON), and
instead of all these ("broken", error or None, traceback).
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import pickle
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Hashable
from typing import Any, Protocol

FRAME = struct.Struct(">Q")
"""A message's length in bytes, before it."""

PROGRESS_EVERY = 0.25  # seconds between two reports of one trial

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
"""What the libraries under torch and numpy read their number of threads from."""

SAY_WHERE = signal.SIGUSR1
"""At this signal a worker writes to stderr where its threads are."""

TrialProgress = Callable[[int, int], None]


class Runnable(Protocol):
    """What an executor needs to know of a trial; it must survive pickling."""

    @property
    def id(self) -> str: ...

    @property
    def shape(self) -> Hashable:
        """What a compiled step depends on."""
        ...

    @property
    def work(self) -> float:
        """Estimated cost in images, above 0."""
        ...

    @property
    def cell(self) -> dict[str, Any]: ...

    def identity(self) -> dict[str, Any]:
        """The part of its record that is known before it runs."""
        ...


class Runner(Protocol):
    """Runs trials one after the other; a worker holds one for as long as it lives."""

    def run(self, trial: Any, progress: TrialProgress) -> dict[str, Any]:
        """Run one trial; returns its record. ``progress`` takes (images seen, images in all)."""
        ...


def attempt(runner: Runner, trial: Runnable, progress: TrialProgress) -> dict[str, Any]:
    """Run a trial; an exception becomes a failed record with its traceback.

    Raises:
        RankError: it left this process without a GPU that works, so no trial can run here any more,
            and there is no record: elsewhere it may not fail.
    """
    try:
        record = runner.run(trial, progress)
    except Exception:
        record = failed_record(trial, traceback.format_exc())
    if record.get("status") == "failed" and _has_lost_its_gpu():
        from engine.errors import RankError  # only now can the engine be imported

        raise RankError(
            f"trial {trial.id} left this process unable to use its GPU; what was finished before "
            "is kept, run the same command again. Should it end here again, add --threads 1: a "
            "worker of its own is replaced, and such a trial recorded as failed. Its error:\n"
            f"{record['error']}"
        )
    return record


def _has_lost_its_gpu() -> bool:
    """Whether an error, such as an illegal memory access, has broken CUDA for this process."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except Exception:
        return True
    return False


def failed_record(trial: Runnable, error: str) -> dict[str, Any]:
    """The record of a trial that has no result, with the reason."""
    return trial.identity() | {"status": "failed", "error": error}


def as_json(trial: Runnable, record: dict[str, Any]) -> str:
    """A trial's record as it goes to the driver; one that isn't JSON becomes a failure."""
    try:
        return json.dumps(record, allow_nan=False)
    except (TypeError, ValueError):
        error = f"the result can't be recorded as JSON:\n{traceback.format_exc()}"
        return json.dumps(failed_record(trial, error))


def frame(message: object) -> bytes:
    """A message as it goes over the socket.

    Raises:
        Exception: what pickling raises, where the message can't be pickled.
    """
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return FRAME.pack(len(data)) + data


def main(descriptor: int, driver: int) -> None:
    """Serve the driver at the other end of a socket until it closes it."""
    _die_with(driver)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    faulthandler.register(SAY_WHERE)
    connection = socket.socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)  # or a compiler it starts would keep the socket open
    setup = _receive(connection)
    if setup is None:
        return
    try:
        runner = _prepare(setup)
    except BaseException as error:
        connection.sendall(frame(("broken", portable(error), traceback.format_exc())))
        raise SystemExit(1) from error
    connection.sendall(frame(("ready",)))
    while (trials := _receive(connection)) is not None:
        for trial in trials:
            _forget_output()
            # A RankError ends this process; the driver then tries the trial in another.
            record = attempt(runner, trial, _Reporter(connection))
            connection.sendall(frame(("record", trial.id, as_json(trial, record))))


def _prepare(setup: dict[str, Any]) -> Runner:
    if setup["cores"]:
        os.sched_setaffinity(0, setup["cores"])
    sys.path[:] = setup["path"]
    make_runner = pickle.loads(setup["make_runner"])
    _limit_torch(setup["threads"])
    runner: Runner = make_runner()
    _limit_torch(setup["threads"])
    return runner


def _limit_torch(threads: int) -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


class _Reporter:
    """A trial's progress, told to the driver now and then."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._next = time.monotonic() + PROGRESS_EVERY

    def __call__(self, seen: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_EVERY
            self._connection.sendall(frame(("progress", seen, total)))


def _receive(connection: socket.socket) -> Any:
    """The next message; None when the driver has closed its end or is gone."""
    header = _exactly(connection, FRAME.size)
    data = None if header is None else _exactly(connection, FRAME.unpack(header)[0])
    return None if data is None else pickle.loads(data)


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        try:
            part = connection.recv(size - len(parts))
        except ConnectionError:
            return None
        if not part:
            return None
        parts += part
    return bytes(parts)


def _forget_output() -> None:
    """Empty the file behind stderr, so that what it holds at a crash is of the trial that crashed.

    Where stderr is no file of ours (a terminal, a pipe) nothing happens.
    """
    sys.stderr.flush()
    with contextlib.suppress(OSError):
        os.ftruncate(sys.stderr.fileno(), 0)
        os.lseek(sys.stderr.fileno(), 0, os.SEEK_SET)


def _die_with(driver: int) -> None:
    """Have Linux kill this process when the driver's thread that started it ends."""
    pr_set_pdeathsig = 1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != driver:  # it died before Linux was asked
        raise SystemExit(1)


def portable(error: BaseException) -> BaseException | None:
    """The error itself where it survives pickling and carries an exit code, else None."""
    if not isinstance(getattr(error, "exit_code", None), int):
        return None
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        # Unpickling calls a class's own constructor, which may raise anything.
        return None
    return error if str(copy) == str(error) else None


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
