"""Run a function on N ranks of this machine, and fail loudly when one of them dies.

One rank runs in the calling process. Several are spawned with the environment that torch and
Accelerate read (RANK, WORLD_SIZE, …); rank 0 sends its progress and its result back through a
queue. Under ``torchrun`` the ranks exist already and the function is simply called.
"""

from __future__ import annotations

import os
import queue
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch
import torch.multiprocessing as multiprocessing

from engine.errors import EngineError, RankError
from engine.training.precision import available_cores, keep_freed_memory

Progress = Callable[[str, int, int], None]
Ranked = Callable[..., dict[str, Any]]


def no_progress(_stage: str, _done: int, _total: int) -> None:
    """The progress of a caller who does not want to know."""


def run_ranks(
    function: Ranked, processes: int, progress: Progress | None, *arguments: Any
) -> dict[str, Any]:
    """Call ``function(*arguments, progress=…)`` on every rank; returns what rank 0 returns.

    Args:
        function: module-level function (it is pickled by name when ranks are spawned).
        processes: number of ranks; each gets an equal share of the cores.
        progress: called in this process with rank 0's progress.

    Raises:
        RankError: a rank died without an exception, or torchrun started another number.
        EngineError: what rank 0's function raised.
    """
    progress = progress or no_progress
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1 and processes not in (1, started):
        raise RankError(f"--processes {processes} under a launcher that started {started} ranks")
    keep_freed_memory()
    if processes == 1 or started > 1:
        return function(*arguments, progress=progress)
    return _spawn(function, processes, progress, arguments)


def _spawn(
    function: Ranked, processes: int, progress: Progress, arguments: tuple[Any, ...]
) -> dict[str, Any]:
    messages = multiprocessing.get_context("spawn").Queue()
    port = _free_port()
    ranks = multiprocessing.start_processes(
        _rank_main,
        args=(function, processes, port, messages, arguments),
        nprocs=processes,
        join=False,
        start_method="spawn",
    )
    assert ranks is not None
    answer: tuple[str, Any] | None = None
    try:
        while answer is None:
            try:
                kind, content = messages.get(timeout=0.5)
            except queue.Empty:
                if _all_ended(ranks):
                    raise RankError("the ranks ended without a result") from None
                continue
            if kind == "progress":
                progress(*content)
            else:
                answer = kind, content
        if answer[0] == "error":
            raise answer[1]
        while not ranks.join(timeout=60):
            pass
    except (
        multiprocessing.ProcessExitedException,
        multiprocessing.ProcessRaisedException,
    ) as error:
        raise RankError(
            f"rank {error.error_index} of {processes} died: {error}. What was finished is kept; "
            "run the same command again."
        ) from error
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
    return answer[1]


def _all_ended(ranks: Any) -> bool:
    """True when every rank has ended; raises when one of them ended badly."""
    return bool(ranks.join(timeout=0))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _rank_main(
    rank: int,
    function: Ranked,
    world: int,
    port: int,
    messages: Any,
    arguments: tuple[Any, ...],
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(max(1, available_cores() // world))
    keep_freed_memory()

    def report(stage: str, done: int, total: int) -> None:
        messages.put(("progress", (stage, done, total)))

    try:
        result = function(*arguments, progress=report if rank == 0 else no_progress)
    except EngineError as error:
        if rank != 0:
            raise
        messages.put(("error", type(error)(str(error))))
    except Exception:
        traceback.print_exc()
        raise
    else:
        if rank == 0:
            messages.put(("result", result))
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
