"""What the system lets a process have: cores, memory, shared memory, open files."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path

from beton_builder.machine import cpu_quota, free_memory, free_memory_outside, usable_cores
from engine.doctor.finding import Asked, Finding, gigabytes, ok, warning

LITTLE_MEMORY = 2 * 10**9
"""A process with torch and a small dataset takes 1.2 to 1.5 GB."""

TIGHTER = 0.9
"""Share of the machine's free memory below which a limit is at work, not the moment between."""

LITTLE_SHARED_MEMORY = 64 * 2**20
"""What Docker gives a container that asks for nothing."""

FEW_FILES = 1024
ENOUGH_FILES = 4096
CROWDED = 1.25
"""Running threads a core above which others are waiting for one."""

SHARED_MEMORY = Path("/dev/shm")


def check_cores(_: Asked) -> Finding:
    """Cores that may be used, CPU time that may be taken, and the threads torch starts."""
    from engine.training.precision import THREAD_VARIABLES, torch_threads

    return judge_cores(
        usable_cores(),
        total=os.cpu_count() or 1,
        quota=cpu_quota(),
        threads=torch_threads(),
        variables=[name for name in THREAD_VARIABLES if os.environ.get(name)],
    )


def judge_cores(
    usable: int, *, total: int, quota: float | None, threads: int, variables: Sequence[str]
) -> Finding:
    """Whether as many threads run as there are usable cores.

    Args:
        usable: cores, within the quota.
        total: cores of the machine.
        quota: cores' worth of time, None without a limit.
        threads: torch's.
        variables: names of those that are set of `engine.training.precision.THREAD_VARIABLES`.
    """
    share = "no CPU quota" if quota is None else f"CPU quota {quota:.3g} cores"
    found = f"{usable} of {total} cores usable, {share}, torch takes {_threads(threads)}"
    if variables and threads != usable:
        return warning(f"{found}, as {', '.join(variables)} says", f"unset {' '.join(variables)}")
    return ok(found)


def check_load(_: Asked) -> Finding:
    """Whether other programs are at work."""
    return judge_load(os.getloadavg()[0], os.cpu_count() or 1)


def judge_load(running: float, cores: int) -> Finding:
    """Whether threads wait for cores.

    Args:
        running: threads that ran or waited to run, mean of the last minute.
        cores: of the machine, whose load it is.
    """
    found = f"{running:.1f} running threads on {_number(cores, 'core')} in the last minute"
    if running > CROWDED * cores:
        return warning(f"{found}: they wait for each other", "top")
    return ok(found)


def check_memory(_: Asked) -> Finding:
    """Memory that can be taken, as runs judge it when they choose their workers and tiers."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
    return judge_memory(
        free_memory(),
        outside=free_memory_outside(),
        total=total,
        address_space=None if address_space == resource.RLIM_INFINITY else address_space,
    )


def judge_memory(free: int, *, outside: int, total: int, address_space: int | None) -> Finding:
    """All in bytes. outside: free in the machine, free: of that, to us; address_space: or None."""
    found = f"{gigabytes(free)} free of {gigabytes(total)}"
    limited = free < TIGHTER * outside
    if limited:
        found += f", though {gigabytes(outside)} outside this container's limit"
    if address_space is not None:
        # Epochs of label stores are mapped whole, and torch reserves more than it uses.
        return warning(
            f"{found}; addresses limited to {gigabytes(address_space)}", "ulimit -v unlimited"
        )
    if free < LITTLE_MEMORY and limited:
        return warning(found, "docker run --memory=8g …")
    if free < LITTLE_MEMORY:
        return warning(found, "ps -eo pid,rss,comm --sort=-rss | head")
    return ok(found)


def check_shared_memory(_: Asked) -> Finding:
    """/dev/shm: what processes talk through (--processes, Ray, a DataLoader's workers)."""
    try:
        with tempfile.TemporaryFile(dir=SHARED_MEMORY) as file:
            file.write(b"\0")
    except OSError as error:
        return warning(
            f"{SHARED_MEMORY} can't be written ({error.strerror}): --processes above 1 will fail",
            f"sudo mount -t tmpfs -o size=2g tmpfs {SHARED_MEMORY}",
        )
    space = os.statvfs(SHARED_MEMORY)
    return judge_shared_memory(space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize)


def judge_shared_memory(free: int, total: int) -> Finding:
    """Both in bytes."""
    found = f"{gigabytes(free)} free of {gigabytes(total)}"
    if free <= LITTLE_SHARED_MEMORY:
        return warning(
            f"{found}: too little for Ray or a DataLoader's workers", "docker run --shm-size=2g …"
        )
    return ok(found)


def check_open_files(_: Asked) -> Finding:
    """How many files a process may have open at once."""
    return judge_open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))


def judge_open_files(soft: int, hard: int) -> Finding:
    """The limit in force, and the one up to which it can be raised; -1 is none."""
    found = f"at most {soft:,} a process" if soft >= 0 else "no limit"
    if 0 <= soft < FEW_FILES:
        most = ENOUGH_FILES if hard < 0 else min(hard, ENOUGH_FILES)
        raised = most > soft
        return warning(
            f"{found}, {FEW_FILES:,} is usual",
            f"ulimit -n {most}" if raised else f"sudo prlimit --nofile={ENOUGH_FILES} --pid $$",
        )
    return ok(found)


def _threads(count: int) -> str:
    return _number(count, "thread")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
