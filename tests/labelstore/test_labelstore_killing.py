"""kill -9 at any moment, then the same again: the same bytes, and nothing finished done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import labelstore_cases as cases
import pytest

import labelstore

CHILD = Path(__file__).with_name("labelstore_child.py")


def start(*arguments: object) -> subprocess.Popen[str]:
    here = [str(CHILD.parent), str(Path(labelstore.__file__).parent.parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(here), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(CHILD), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def die_before_calls(folder: Path, first: int, step: int) -> list[str]:
    """Verdicts of dumps that died just before system call number first, first + step, …"""
    output, _ = start("crash", folder, first, step).communicate(timeout=600)
    verdicts = output.splitlines()
    assert [line for line in verdicts if not line.startswith("good")] == []
    return verdicts


def test_dying_before_system_calls_spread_over_a_dump_resumes_to_the_same_bytes(tmp_path):
    assert len(die_before_calls(tmp_path, random.randrange(1, 47), 47)) >= 12


@pytest.mark.long
@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_dying_before_any_system_call_at_all_resumes_to_the_same_bytes(tmp_path, first):
    assert len(die_before_calls(tmp_path, first, 4)) >= 150


def test_two_ranks_killed_at_random_moments_resume_to_the_same_bytes(tmp_path):
    cases.filled(tmp_path / "whole.zarr")
    path = tmp_path / "labels.zarr"
    cases.new_view(path)
    for _ in range(5):
        ranks = [start("fill", path, rank, 2, 0.004) for rank in (0, 1)]
        for rank in ranks:
            assert rank.stdout is not None
            assert rank.stdout.readline() == "started\n"
        time.sleep(random.uniform(0, 0.06))
        for rank in ranks:
            rank.send_signal(signal.SIGKILL)
            rank.communicate()
        verdict = labelstore.verify_store(path)
        assert verdict["damaged"] == 0, verdict["problems"]
    cases.fill(labelstore.open_store(path).view())
    assert cases.bytes_of(path) == cases.bytes_of(tmp_path / "whole.zarr")
