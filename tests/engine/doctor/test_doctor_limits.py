"""Cores, load, memory and open files, where there are too few of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.doctor import limits
from engine.doctor.finding import Asked
from engine.doctor.limits import (
    cpu_quota,
    judge_cores,
    judge_load,
    judge_memory,
    judge_open_files,
    judge_shared_memory,
)

ANY = Asked()
CHECKOUT = Path(engine.__file__).parents[1]
GB = 10**9


def cores(usable=(0, 1, 2, 3), *, quota=None, threads=4, variables=()):
    return judge_cores(usable, total=8, quota=quota, threads=threads, variables=variables)


def test_all_usable_cores_at_work_are_fine():
    found = cores()
    assert found.status == "ok"
    assert found.found == "4 of 8 cores usable, no CPU quota, torch takes 4 threads"


def test_a_quota_below_the_cores_is_a_warning_with_cores_that_fit_it():
    found = cores((2, 3, 6, 7), quota=2.5)
    assert found.status == "warning"
    assert found.next == "taskset --cpu-list 2,3 engine …"
    assert cores((5, 6), quota=0.5).next == "taskset --cpu-list 5 engine …"


def test_a_quota_of_all_cores_is_fine():
    assert cores(quota=4.0).status == "ok"


@pytest.mark.parametrize("threads", [1, 64])
def test_a_variable_that_starves_or_floods_the_cores_is_a_warning(threads):
    found = cores(threads=threads, variables=["OMP_NUM_THREADS"])
    assert (found.status, found.next) == ("warning", "unset OMP_NUM_THREADS")


def test_fewer_threads_by_torchs_own_choice_are_fine():
    assert cores(threads=2).status == "ok"


def test_the_variable_is_read_from_the_environment(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 977)
    monkeypatch.setattr(limits, "cpu_quota", lambda root: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "977")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert limits.check_cores(ANY).next == "unset OMP_NUM_THREADS"


def group(root: Path, membership: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "200000 100000"}, 2.0),
        ("0::/of/the/host\n", {"cpu.max": "50000 100000\n"}, 0.5),
        (
            "4:cpu,cpuacct:/docker/x\n0::/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "300000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            3.0,
        ),
        (
            "3:cpuset:/\n1:cpu:/\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            None,
        ),
        ("1:cpuset:/x\n", {"cpu.cfs_quota_us": "1", "cpu.cfs_period_us": "100000"}, None),
    ],
)
def test_the_quota_is_read_from_both_kinds_of_control_groups(tmp_path, membership, files, quota):
    assert cpu_quota(group(tmp_path, membership, files)) == quota


@given(st.lists(st.none() | st.integers(1_000, 10_000_000), min_size=1, max_size=6))
def test_the_tightest_quota_on_the_way_up_counts(tmp_path_factory, quotas):
    path, files = "", {}
    for depth, quota in enumerate(quotas):
        path += f"/g{depth}"
        files[f"{path[1:]}/cpu.max"] = f"{'max' if quota is None else quota} 100000\n"
    root = group(tmp_path_factory.mktemp("root"), f"0::{path}\n", files)
    set_ones = [quota for quota in quotas if quota is not None]
    assert cpu_quota(root) == (min(set_ones) / 100_000 if set_ones else None)


def test_a_machine_without_control_groups_has_no_quota(tmp_path):
    assert cpu_quota(tmp_path) is None


def test_a_crowded_machine_is_a_warning():
    assert judge_load(2.0, 2).status == "ok"
    found = judge_load(5.5, 2)
    assert (found.status, found.next) == ("warning", "top")


def test_little_memory_is_a_warning():
    assert judge_memory(3 * GB, total=8 * GB, address_space=None).status == "ok"
    found = judge_memory(GB, total=8 * GB, address_space=None)
    assert found.status == "warning"
    assert found.found == "1.0 GB free of 8.0 GB"


def test_little_shared_memory_is_a_warning():
    assert judge_shared_memory(GB, 2 * GB).status == "ok"
    found = judge_shared_memory(64 * 2**20, 64 * 2**20)
    assert (found.status, found.next) == ("warning", "docker run --shm-size=2g …")


def test_shared_memory_that_cannot_be_written_is_a_warning(monkeypatch):
    monkeypatch.setattr(limits, "SHARED_MEMORY", Path("/proc"))
    found = limits.check_shared_memory(ANY)
    assert found.status == "warning"
    assert "can't be written" in found.found


@pytest.mark.parametrize(
    ("soft", "hard", "status", "what"),
    [
        (1024, 4096, "ok", ""),
        (-1, -1, "ok", ""),
        (256, -1, "warning", "ulimit -n 4096"),
        (256, 524_288, "warning", "ulimit -n 4096"),
        (256, 512, "warning", "ulimit -n 512"),
        (256, 256, "warning", "sudo prlimit --nofile=4096 --pid $$"),
    ],
)
def test_few_open_files_are_a_warning_with_a_way_to_more(soft, hard, status, what):
    found = judge_open_files(soft, hard)
    assert (found.status, found.next) == (status, what)


LIMITED = """
import json, resource
from engine.doctor.finding import Asked
from engine.doctor.limits import check_memory, check_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 200))
import engine.sweep.timing.measured_packing
resource.setrlimit(resource.RLIMIT_AS, (60 * 10**9, 60 * 10**9))
print(json.dumps([vars(check(Asked())) for check in (check_open_files, check_memory)]))
"""


def test_limits_of_a_real_process_are_seen():
    output = subprocess.run(
        [sys.executable, "-c", LIMITED],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    files, memory = json.loads(output)
    assert (files["status"], files["next"]) == ("warning", "ulimit -n 200")
    assert "at most 128" in files["found"]
    assert (memory["status"], memory["next"]) == ("warning", "ulimit -v unlimited")
    assert "60.0 GB" in memory["found"]
