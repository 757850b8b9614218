"""Cores and memory under control groups: made-up machines, in the kernel's own words."""

import math
import os
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beton_builder import machine
from beton_builder.machine import (
    allowed_cores,
    cpu_quota,
    free_memory,
    free_memory_outside,
    usable_cores,
)
from beton_builder.plan import check_options

GB = 10**9
FREE = 8 * GB
UNLIMITED_V1 = 9223372036854771712  # the kernel's way to say "no limit" in version 1
MEMINFO = f"MemTotal: 16000000 kB\nMemFree: 99 kB\nMemAvailable:   {FREE // 1024} kB\n"

Files = dict[str, str]


def machine_of(root: Path, membership: str | None, groups: Files, meminfo: str = MEMINFO) -> Path:
    """A root folder with /proc and /sys/fs/cgroup; `membership`: /proc/self/cgroup."""
    files = {f"sys/fs/cgroup/{name}": text for name, text in groups.items()}
    files["proc/meminfo"] = meminfo
    if membership is not None:
        files["proc/self/cgroup"] = membership
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def v1_quota(folder: str, quota: int, period: int = 100_000) -> Files:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}"}


def v1_memory(folder: str, limit: int, taken: int, cached: int = 0) -> Files:
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{taken}\n",
        f"{folder}/memory.stat": f"inactive_file 77\nrss 5\ntotal_inactive_file {cached}\n",
    }


def v2_memory(folder: str, limit: int | str, taken: int, cached: int = 0) -> Files:
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{taken}\n",
        f"{folder}/memory.stat": f"anon 5\ninactive_file {cached}\nactive_file 77\n",
    }


@pytest.mark.parametrize(
    ("membership", "groups", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "200000 100000"}, 2.0),
        ("0::/a/b (deleted)\n", {"a/cpu.max": "200000 100000"}, 2.0),
        ("0::/a\n", {"other/cpu.max": "100000 100000"}, None),
        ("0::/of/the/host\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("4:cpu,cpuacct:/docker/x\n0::/\n", v1_quota("cpu,cpuacct", 300_000), 3.0),
        ("4:cpuacct,cpu:/docker/x\n0::/\n", v1_quota("cpu/docker/x", 30_000, 20_000), 1.5),
        ("3:cpuset:/\n1:cpu:/\n0::/\n", v1_quota("cpu", -1), None),
        ("1:cpuset:/x\n", v1_quota("cpuset/x", 100_000), None),
        ("1:cpu:/x\n0::/y\n", {**v1_quota("cpu/x", 300_000), "unified/y/cpu.max": "9 1"}, 3.0),
        (None, {"cpu.max": "200000 100000\n"}, 2.0),
        (None, v1_quota("cpu", 200_000), 2.0),
        ("", v1_quota("cpu", 200_000), 2.0),
        ("nonsense\n::\n1:2\n0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"cpu.max": "200000 0\n"}, None),
        ("0::/\n", {"cpu.max": "200000\n"}, None),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "200000\n"}, None),
    ],
)
def test_the_quota_is_read_from_both_versions(
    tmp_path: Path, membership: str | None, groups: Files, quota: float | None
) -> None:
    assert cpu_quota(machine_of(tmp_path, membership, groups)) == quota


@given(st.lists(st.none() | st.integers(1_000, 10_000_000), min_size=1, max_size=6), st.booleans())
def test_the_tightest_quota_on_the_way_up_counts(
    tmp_path_factory: pytest.TempPathFactory, quotas: list[int | None], version_1: bool
) -> None:
    path, groups = "", {}
    for depth, quota in enumerate(quotas):
        path += f"/g{depth}"
        if version_1:
            groups |= v1_quota(f"cpu{path}", -1 if quota is None else quota)
        else:
            groups[f"{path[1:]}/cpu.max"] = f"{'max' if quota is None else quota} 100000\n"
    membership = f"7:cpu:{path}\n" if version_1 else f"0::{path}\n"
    root = machine_of(tmp_path_factory.mktemp("root"), membership, groups)
    set_ones = [quota for quota in quotas if quota is not None]
    assert cpu_quota(root) == (min(set_ones) / 100_000 if set_ones else None)


@given(quota=st.integers(1, 10**8), period=st.integers(1, 10**6), allowed=st.integers(1, 256))
def test_usable_cores_are_the_quota_rounded_up_and_never_more_than_allowed(
    tmp_path_factory: pytest.TempPathFactory, quota: int, period: int, allowed: int
) -> None:
    root = machine_of(tmp_path_factory.mktemp("root"), "0::/\n", {"cpu.max": f"{quota} {period}\n"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "allowed_cores", lambda: list(range(allowed)))
        found = usable_cores(root)
    assert found == min(allowed, math.ceil(Fraction(quota, period)))


def test_without_a_quota_the_cores_are_those_that_linux_lets_this_process_run_on(
    tmp_path: Path,
) -> None:
    root = machine_of(tmp_path, "0::/\n", {"cpu.max": "max 100000\n"})
    assert usable_cores(root) == len(os.sched_getaffinity(0))
    assert set(allowed_cores()) == os.sched_getaffinity(0)


def test_a_build_takes_no_more_workers_than_the_quota_lets_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "allowed_cores", lambda: list(range(64)))
    monkeypatch.setattr(machine, "cpu_quota", lambda root: 1.5)
    options = {
        "on_error": "fail",
        "max_resolution": None,
        "image_mode": "jpeg",
        "jpeg_quality": 90,
        "jpeg_check": "decode",
        "normalisation": "measured",
    }
    assert check_options(workers=None, **options)[1] == 2
    assert check_options(workers=7, **options)[1] == 7


@pytest.mark.parametrize(
    ("membership", "groups", "free"),
    [
        ("0::/\n", {}, FREE),
        ("0::/\n", v2_memory(".", "max", 3 * GB), FREE),
        ("0::/\n", v2_memory(".", 4 * GB, 3 * GB), GB),
        ("0::/\n", v2_memory(".", 4 * GB, 3 * GB, cached=2 * GB), 3 * GB),
        ("0::/\n", v2_memory(".", 4 * GB, 5 * GB), 0),
        ("0::/\n", v2_memory(".", 4 * GB, GB, cached=3 * GB), 4 * GB),
        ("0::/\n", v2_memory(".", 100 * GB, 3 * GB), FREE),
        ("0::/\n", v2_memory(".", "max", GB) | {"memory.high": f"{3 * GB}\n"}, 2 * GB),
        ("0::/\n", {"memory.max": f"{4 * GB}\n"}, 4 * GB),
        ("0::/a/b\n", {**v2_memory("a", 2 * GB, GB), **v2_memory("a/b", 9 * GB, GB)}, GB),
        ("0::/a/b\n", {**v2_memory("a", 9 * GB, GB), **v2_memory("a/b", 2 * GB, GB)}, GB),
        ("0::/of/the/host\n", v2_memory(".", 2 * GB, GB), GB),
        ("0::/a\n", v2_memory("other", 2 * GB, GB), FREE),
        ("9:memory:/\n0::/\n", v1_memory("memory", UNLIMITED_V1, 3 * GB), FREE),
        ("9:memory:/x/y\n", v1_memory("memory/x/y", 4 * GB, 3 * GB), GB),
        ("9:memory:/x/y\n", v1_memory("memory/x", 4 * GB, 3 * GB, cached=GB), 2 * GB),
        ("9:memory:/docker/x\n0::/\n", v1_memory("memory", 4 * GB, 3 * GB), GB),
        ("9:memory:/\n", {"memory/memory.limit_in_bytes": f"{4 * GB}\n"}, 4 * GB),
        (None, v2_memory(".", 4 * GB, 3 * GB), GB),
        (None, v1_memory("memory", 4 * GB, 3 * GB), GB),
    ],
)
def test_free_memory_is_what_the_machine_and_every_enclosing_group_leave(
    tmp_path: Path, membership: str | None, groups: Files, free: int
) -> None:
    root = machine_of(tmp_path, membership, groups)
    assert free_memory(root) == free
    assert free_memory_outside(root) == FREE


levels = st.tuples(st.none() | st.integers(0, 20 * GB), st.integers(0, 20 * GB), st.integers(0, GB))


@given(levels=st.lists(levels, min_size=1, max_size=5), version_1=st.booleans())
def test_the_tightest_group_on_the_way_up_decides_what_is_free(
    tmp_path_factory: pytest.TempPathFactory,
    levels: list[tuple[int | None, int, int]],
    version_1: bool,
) -> None:
    path, groups, lefts = "", {}, [FREE]
    for depth, (limit, taken, cached) in enumerate(levels):
        path += f"/g{depth}"
        if version_1:
            set_to = UNLIMITED_V1 if limit is None else limit
            groups |= v1_memory(f"memory{path}", set_to, taken, cached)
        else:
            groups |= v2_memory(path[1:], "max" if limit is None else limit, taken, cached)
        if limit is not None:
            lefts.append(min(limit, max(0, limit - taken + cached)))
    membership = f"7:memory:{path}\n" if version_1 else f"0::{path}\n"
    assert free_memory(machine_of(tmp_path_factory.mktemp("root"), membership, groups)) == min(
        lefts
    )


@given(
    st.fixed_dictionaries(
        {
            name: st.binary(max_size=30)
            for name in (
                "proc/self/cgroup", "proc/meminfo", "sys/fs/cgroup/cpu.max",
                "sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.high",
                "sys/fs/cgroup/memory.current", "sys/fs/cgroup/memory.stat",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "sys/fs/cgroup/cpu/cpu.cfs_period_us",
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
            )
        }
    )
)  # fmt: skip
def test_whatever_these_files_hold_there_is_an_answer(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    root = tmp_path_factory.mktemp("root")
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    assert 1 <= usable_cores(root) <= len(os.sched_getaffinity(0))
    assert free_memory(root) >= 0


@pytest.mark.parametrize("path", ["/a\0b", "/" + "x" * 5000, "/../elsewhere", "/\udc80"])
def test_groups_with_impossible_paths_are_passed_over(tmp_path: Path, path: str) -> None:
    machine_of(tmp_path, None, {"cpu.max": "50000 100000", **v2_memory(".", 4 * GB, GB)})
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/self/cgroup").write_bytes(f"0::{path}\n".encode(errors="surrogateescape"))
    assert cpu_quota(tmp_path) == 0.5
    assert free_memory(tmp_path) == 3 * GB


def test_files_that_cannot_be_read_limit_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = machine_of(
        tmp_path, "0::/a\n", {"a/cpu.max": "50000 100000", **v2_memory("a", 4 * GB, GB)}
    )

    def refused(self: Path, *_: object, **__: object) -> str:
        if "cgroup" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        return MEMINFO

    monkeypatch.setattr(Path, "read_text", refused)
    assert cpu_quota(root) is None
    assert free_memory(root) == FREE


def test_a_folder_in_the_place_of_a_file_limits_nothing(tmp_path: Path) -> None:
    root = machine_of(tmp_path, "0::/\n", {"cpu.max/x": "", "memory.max/x": ""})
    assert cpu_quota(root) is None
    assert free_memory(root) == FREE


@pytest.mark.parametrize("meminfo", ["", "MemTotal: 5 kB\n", "MemAvailable: lots\n"])
def test_without_linuxs_estimate_free_pages_are_counted(tmp_path: Path, meminfo: str) -> None:
    free = free_memory(machine_of(tmp_path, "0::/\n", {}, meminfo))
    assert 0 < free <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_this_machine_has_some_memory_and_no_more_than_it_has() -> None:
    assert 0 < free_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
