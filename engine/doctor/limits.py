"""What the system lets a process have: cores, memory, shared memory, open files."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.doctor.finding import Asked, Finding, gigabytes, ok, warning

LITTLE_MEMORY = 2 * 10**9
"""A process with torch and a small dataset takes 1.2 to 1.5 GB."""

LITTLE_SHARED_MEMORY = 64 * 2**20
"""What Docker gives a container that asks for nothing."""

FEW_FILES = 1024
ENOUGH_FILES = 4096
CROWDED = 1.25
"""Running threads a core above which others are waiting for one."""

TORCH_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""What torch reads its number of threads from."""

SHARED_MEMORY = Path("/dev/shm")
ROOT = Path("/")


def check_cores(_: Asked) -> Finding:
    """Cores that may be used, CPU time that may be taken, and the threads torch starts."""
    import torch

    from engine.sweep.timing.packing import available_cores

    return judge_cores(
        available_cores(),
        total=os.cpu_count() or 1,
        quota=cpu_quota(ROOT),
        threads=torch.get_num_threads(),
        variables=[name for name in TORCH_THREADS if os.environ.get(name)],
    )


def judge_cores(
    cores: Sequence[int],
    *,
    total: int,
    quota: float | None,
    threads: int,
    variables: Sequence[str],
) -> Finding:
    """Whether as many threads run as there are cores, and no more than the quota lets.

    Args:
        cores: numbers of the usable ones.
        total: cores of the machine.
        quota: cores' worth of time, None without a limit.
        threads: torch's.
        variables: names of those that are set of TORCH_THREADS.
    """
    share = "no CPU quota" if quota is None else f"CPU quota {quota:.3g} cores"
    found = f"{len(cores)} of {total} cores usable, {share}, torch takes {_threads(threads)}"
    if quota is not None and quota < len(cores):
        fit = ",".join(str(core) for core in cores[: max(1, int(quota))])
        return warning(
            f"{found}: more threads than the quota lets run", f"taskset --cpu-list {fit} engine …"
        )
    if variables and threads != len(cores):
        return warning(f"{found}, as {', '.join(variables)} says", f"unset {' '.join(variables)}")
    return ok(found)


def cpu_quota(root: Path) -> float | None:
    """Cores' worth of time that this process's control groups leave it; None without a limit.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    quotas = [quota for folder in _cpu_groups(root) if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def _cpu_groups(root: Path) -> Iterator[Path]:
    """Folders of the process's group and of all above it, in both versions of control groups.

    In a container the path may be the host's, of which only the end of the way up can be seen.
    """
    mounted = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            tops = [mounted, mounted / "unified"]
        elif "cpu" in controllers.split(","):
            tops = [mounted / "cpu", mounted / controllers]
        else:
            continue
        inner = Path(path.lstrip("/"))
        yield from (top / each for top in tops for each in (inner, *inner.parents))


def _quota_of(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # not there, or "max"
        return None


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
    """Memory that can be taken, as sweeps judge it when they choose their workers."""
    from engine.sweep.timing.measured_packing import free_memory

    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
    return judge_memory(
        free_memory(),
        total=total,
        address_space=None if address_space == resource.RLIM_INFINITY else address_space,
    )


def judge_memory(free: int, *, total: int, address_space: int | None) -> Finding:
    """All in bytes; address_space: None without a limit."""
    found = f"{gigabytes(free)} free of {gigabytes(total)}"
    if address_space is not None:
        # Epochs of label stores are mapped whole, and torch reserves more than it uses.
        return warning(
            f"{found}; addresses limited to {gigabytes(address_space)}", "ulimit -v unlimited"
        )
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
