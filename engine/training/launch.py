"""Run a function on N ranks of this machine, and fail loudly when one of them dies.

One rank runs in the calling process. Several are spawned with the environment that torch and
Accelerate read (RANK, WORLD_SIZE, …); rank 0 sends its progress and its result back through a
queue, any rank its error. Launchers such as ``torchrun`` are refused: the command starts its own
ranks, once it holds the artefact it writes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import queue
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.multiprocessing as multiprocessing

from beton_builder.machine import usable_cores
from engine.errors import RankError, UsageError
from engine.training.precision import keep_freed_memory
from engine.training.progress import Progress, no_progress

__all__ = ["Progress", "check_ranks", "no_progress", "run_ranks"]

Ranked = Callable[..., dict[str, Any]]


def check_ranks(processes: int) -> None:
    """Whether a command can start its ranks here, to be asked before it writes anything.

    Raises:
        UsageError: a launcher such as torchrun started it, so that each rank would do the whole
            command, or there are more ranks than GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            f"started by a launcher with {os.environ['WORLD_SIZE']} ranks; type the command "
            f"without it and with --processes {os.environ['WORLD_SIZE']}"
        )
    if processes > 1 and torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise UsageError(
            f"--processes {processes} on a machine with {torch.cuda.device_count()} GPUs: "
            "each rank needs its own"
        )


def run_ranks(
    function: Ranked, processes: int, progress: Progress | None, *arguments: Any
) -> dict[str, Any]:
    """Call ``function(*arguments, progress=…)`` on every rank; returns what rank 0 returns.

    Args:
        function: module-level function (it is pickled by name when ranks are spawned).
        processes: number of ranks, checked by `check_ranks`; each gets an equal share of the cores.
        progress: called in this process with rank 0's progress.

    Raises:
        RankError: a rank died without an exception of ours.
        Exception: what a rank's function raised on purpose, whichever rank it was.
    """
    progress = progress or no_progress
    keep_freed_memory()
    if processes == 1:
        return function(*arguments, progress=progress)
    return _spawn(function, processes, progress, arguments)


def _spawn(
    function: Ranked, processes: int, progress: Progress, arguments: tuple[Any, ...]
) -> dict[str, Any]:
    messages = multiprocessing.get_context("spawn").Queue()
    ranks = multiprocessing.start_processes(
        _rank_main,
        args=(os.getpid(), function, processes, _free_port(), messages, arguments),
        nprocs=processes,
        join=False,
        start_method="spawn",
    )
    assert ranks is not None
    try:
        answer = _wait_for_answer(ranks, messages, progress)
        while not ranks.join(timeout=60):
            pass
        return answer
    except (
        multiprocessing.ProcessExitedException,
        multiprocessing.ProcessRaisedException,
    ) as error:
        reason = _error_sent(messages)
        if reason is not None:
            raise reason from None
        raise RankError(
            f"rank {error.error_index} of {processes} died: {str(error).strip()}. What was "
            "finished is kept; run the same command again."
        ) from None
    finally:
        for process in ranks.processes:
            if process.is_alive():
                process.terminate()
        for process in ranks.processes:
            process.join(timeout=10)
            if process.is_alive():
                process.kill()
        messages.close()
        messages.cancel_join_thread()


def _wait_for_answer(ranks: Any, messages: Any, progress: Progress) -> dict[str, Any]:
    looked = time.monotonic()
    while True:
        try:
            kind, content = messages.get(timeout=0.5)
        except queue.Empty:
            kind, content = "nothing", None
        if kind == "progress":
            progress(*content)
        elif kind == "result":
            return dict(content)
        elif kind == "error":
            raise content
        # A busy rank 0 must not hide that another one has died.
        if kind == "nothing" or time.monotonic() - looked > 0.5:
            looked = time.monotonic()
            if ranks.join(timeout=0) and kind == "nothing":
                raise RankError("the ranks ended without a result; run the same command again")


def _error_sent(messages: Any) -> BaseException | None:
    """The error that a rank sent before it died, if it had time to."""
    while True:
        try:
            kind, content = messages.get(timeout=0.2)
        except queue.Empty:
            return None
        if kind == "error":
            assert isinstance(content, BaseException)
            return content


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _rank_main(
    rank: int,
    parent: int,
    function: Ranked,
    world: int,
    port: int,
    messages: Any,
    arguments: tuple[Any, ...],
) -> None:
    _die_with(parent)
    threads = max(1, usable_cores() // world)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # Accelerate would otherwise count the machine's cores, not those we may use.
        "OMP_NUM_THREADS": str(threads),
    }
    torch.set_num_threads(threads)
    keep_freed_memory()

    def report(stage: str, done: int, total: int) -> None:
        messages.put(("progress", (stage, done, total)))

    try:
        result = function(*arguments, progress=report if rank == 0 else no_progress)
        if rank == 0:
            messages.put(("result", result))
    except Exception as error:
        if not isinstance(getattr(error, "exit_code", None), int):
            raise
        messages.put(("error", _portable(error)))
        messages.close()
        messages.join_thread()
        sys.exit(1)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    _leave(messages)


def _leave(messages: Any) -> None:
    """End this rank now that its work is done and told.

    The interpreter's own way out destroys what torch's threads still use; once in some hundred runs
    that ended a rank with SIGABRT after its work was complete.
    """
    messages.close()
    messages.join_thread()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _die_with(parent: int) -> None:
    """Have Linux kill this rank when the command that started it is killed.

    Without it, a rank would go on writing while the artefact's lock is free.
    """
    pr_set_pdeathsig = 1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # killed before Linux was asked, while torch was imported
        os._exit(1)


def _portable(error: Exception) -> Exception:
    """The error itself where it survives pickling, else its message."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        # Unpickling calls a class's own constructor, which may raise anything.
        return RankError(str(error))
    return error if str(copy) == str(error) else RankError(str(error))
