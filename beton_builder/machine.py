"""What a process may use of its machine: cores and memory, within the limits of its control groups.

A container is limited by control groups: to a share of the time (a quota, worth so many cores) and
to an amount of memory, of which the usual counts of cores and free bytes show nothing. A process is
bound by its own group's limits and by those of every group above. Both versions of control groups
are read. This lies in the lowest room so that whoever chooses threads, workers or what to hold in
memory can ask here. Each answer is found anew, in less than a millisecond, since limits can change
while a process runs.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")

CORES_OF_ALL = "BETON_CORES_OF_ALL"
"""Variable in which a program that binds a process to some of its cores tells it how many it has.
"""


def usable_cores(root: Path = ROOT) -> int:
    """How many threads can run at once: cores that may be run on, cut to the CPU quota, rounded up.

    root: where `proc` and `sys` are.
    """
    allowed, quota = len(allowed_cores()), cpu_quota(root)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def machine_cores() -> int:
    """Usable cores of the whole program, where it has bound this process to a share of them."""
    return int(os.environ.get(CORES_OF_ALL) or usable_cores())


def allowed_cores() -> list[int]:
    """Numbers of the cores that this process may run on, whatever its quota of time."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cpu_quota(root: Path = ROOT) -> float | None:
    """Cores' worth of time that the control groups leave this process; None without a limit.

    root: where `proc` and `sys` are.
    """
    found = [_quota_of(folder) for folder in _groups(root, "cpu")]
    return min((quota for quota in found if quota is not None), default=None)


def free_memory(root: Path = ROOT) -> int:
    """Bytes that can be taken without swapping, and without leaving what the control groups allow.

    root: where `proc` and `sys` are.
    """
    found = [_memory_left_in(folder) for folder in _groups(root, "memory")]
    return min([free_memory_outside(root), *(left for left in found if left is not None)])


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the process's group and of all above it, in both versions of control groups.

    In a container the path may be the host's, of which only the end of the way up can be seen: the
    container's own group, mounted as the top.
    """
    mounted = root / "sys/fs/cgroup"
    membership = _text(root / "proc/self/cgroup") or f"1:{controller}:/\n0::/"
    for line in membership.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            tops = {mounted, mounted / "unified"}
        elif controller in controllers.split(","):
            tops = {mounted / controller, mounted / controllers}
        else:
            continue
        inner = Path(path.lstrip("/"))
        yield from (top / each for top in tops for each in (inner, *inner.parents))


def _quota_of(group: Path) -> float | None:
    quota, _, period = _text(group / "cpu.max").partition(" ")
    if not period:
        quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
    share, of = _number(quota), _number(period)  # a quota of "max" or -1 is none
    return share / of if share is not None and of and share > 0 and of > 0 else None


def _memory_left_in(group: Path) -> int | None:
    """What the group's limit leaves; cached files that nobody reads at the moment can be had."""
    limits = [_number(_text(group / name)) for name in ("memory.max", "memory.high")]
    taken, can_be_had = "memory.current", "inactive_file"
    if not _text(group / "memory.max"):
        limits = [_number(_text(group / "memory.limit_in_bytes"))]
        taken, can_be_had = "memory.usage_in_bytes", "total_inactive_file"
    limit = min((each for each in limits if each is not None), default=None)
    if limit is None:
        return None
    lines = _text(group / "memory.stat").splitlines()
    statistics = dict(line.split(" ", 1) for line in lines if " " in line)
    held = (_number(_text(group / taken)) or 0) - (_number(statistics.get(can_be_had, "")) or 0)
    return max(0, limit - max(0, held))


def free_memory_outside(root: Path = ROOT) -> int:
    """The same for a process without control groups: what the machine has left."""
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, amount = line.partition(":")
        kilobytes = _number(amount.removesuffix("kB"))
        if name == "MemAvailable" and kilobytes is not None:
            return kilobytes * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _text(file: Path) -> str:
    """What the kernel says there; nothing where the file is missing or can't be read."""
    try:
        return file.read_text("utf-8", errors="surrogateescape")
    except (OSError, ValueError):  # a ValueError: of a path that no file can have
        return ""


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
