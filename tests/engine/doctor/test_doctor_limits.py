"""Cores, load, memory and open files, where there are too few of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from engine.doctor import limits
from engine.doctor.finding import Asked
from engine.doctor.limits import (
    judge_cores,
    judge_load,
    judge_memory,
    judge_open_files,
    judge_shared_memory,
)

ANY = Asked()
CHECKOUT = Path(engine.__file__).parents[1]
GB = 10**9


def cores(usable=4, *, quota=None, threads=4, variables=()):
    return judge_cores(usable, total=8, quota=quota, threads=threads, variables=variables)


def test_all_usable_cores_at_work_are_fine():
    found = cores()
    assert found.status == "ok"
    assert found.found == "4 of 8 cores usable, no CPU quota, torch takes 4 threads"


def test_a_quota_below_the_cores_is_fine_as_threads_follow_it():
    found = cores(3, quota=2.5, threads=3)
    assert found.status == "ok"
    assert found.found == "3 of 8 cores usable, CPU quota 2.5 cores, torch takes 3 threads"


@pytest.mark.parametrize("threads", [1, 64])
def test_a_variable_that_starves_or_floods_the_cores_is_a_warning(threads):
    found = cores(threads=threads, variables=["OMP_NUM_THREADS"])
    assert (found.status, found.next) == ("warning", "unset OMP_NUM_THREADS")


def test_fewer_threads_by_torchs_own_choice_are_fine():
    assert cores(threads=2).status == "ok"


def test_the_variable_is_read_from_the_environment(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 977)
    monkeypatch.setenv("OMP_NUM_THREADS", "977")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert limits.check_cores(ANY).next == "unset OMP_NUM_THREADS"


def test_a_crowded_machine_is_a_warning():
    assert judge_load(2.0, 2).status == "ok"
    found = judge_load(5.5, 2)
    assert (found.status, found.next) == ("warning", "top")


def memory(free, *, outside, address_space=None):
    return judge_memory(free, outside=outside, total=8 * GB, address_space=address_space)


def test_little_memory_is_a_warning():
    assert memory(3 * GB, outside=3 * GB).status == "ok"
    found = memory(GB, outside=GB)
    assert (found.status, found.found) == ("warning", "1.0 GB free of 8.0 GB")
    assert found.next.startswith("ps ")


def test_memory_that_a_container_may_not_take_is_told_apart():
    found = memory(GB, outside=6 * GB)
    assert found.status == "warning"
    assert found.found == "1.0 GB free of 8.0 GB, though 6.0 GB outside this container's limit"
    assert found.next == "docker run --memory=8g …"
    assert memory(3 * GB, outside=6 * GB).status == "ok"


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
