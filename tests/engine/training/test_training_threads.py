"""torch's threads: all that may run at once under a CPU quota, and as ever without one."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

import engine
from engine.training import precision
from engine.training.precision import choose_arithmetic, torch_threads

CHECKOUT = Path(engine.__file__).parents[1]
COMPILE_THREADS = "TORCHINDUCTOR_COMPILE_THREADS"


@pytest.fixture
def machine(monkeypatch):
    """`machine(allowed, usable)`: cores that may be run on, and those that the quota leaves."""
    for name in (*precision.THREAD_VARIABLES, COMPILE_THREADS):
        monkeypatch.setenv(name, "")  # so that it is as it was after the test
        monkeypatch.delenv(name)

    def install(allowed, usable):
        monkeypatch.setattr(precision, "allowed_cores", lambda: list(range(allowed)))
        monkeypatch.setattr(precision, "usable_cores", lambda: usable)

    return install


def test_a_quota_cuts_the_threads_and_what_is_recorded_of_them(machine):
    torch.set_num_threads(64)
    machine(allowed=64, usable=2)
    assert choose_arithmetic("fp32", compiled=False).threads == 2
    assert torch.get_num_threads() == 2
    assert os.environ[COMPILE_THREADS] == "2"


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_without_a_quota_nothing_changes(machine, threads):
    torch.set_num_threads(threads)
    machine(allowed=2, usable=2)
    assert torch_threads() == threads
    assert COMPILE_THREADS not in os.environ


def test_fewer_threads_than_the_quota_lets_run_stay_few(machine):
    torch.set_num_threads(1)
    machine(allowed=64, usable=2)
    assert torch_threads() == 1


@pytest.mark.parametrize("name", precision.THREAD_VARIABLES)
def test_threads_that_were_asked_for_by_a_variable_are_given(machine, monkeypatch, name):
    torch.set_num_threads(4)
    machine(allowed=64, usable=2)
    monkeypatch.setenv(name, "4")
    assert torch_threads() == 4


def test_a_number_of_compilers_that_was_asked_for_stays(machine, monkeypatch):
    machine(allowed=64, usable=2)
    monkeypatch.setenv(COMPILE_THREADS, "7")
    torch_threads()
    assert os.environ[COMPILE_THREADS] == "7"


COUNT = """
from engine.training import precision
precision.allowed_cores = lambda: list(range(64))
precision.usable_cores = lambda: 3
precision.torch_threads()
import torch._inductor.config
print(torch._inductor.config.compile_threads)
"""


def test_torch_compiles_as_many_files_at_once_as_the_quota_lets_run():
    environment = {name: v for name, v in os.environ.items() if name != COMPILE_THREADS}
    done = subprocess.run(
        [sys.executable, "-c", COUNT],
        cwd=CHECKOUT,
        env={**environment, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "3\n"


def test_what_is_recorded_names_the_software_that_results_come_from():
    recorded = choose_arithmetic("fp32", compiled=False).describe()
    assert recorded["torch"] == torch.__version__
    assert (recorded["numpy"], recorded["timm"]) == (np.__version__, timm.__version__)
    assert recorded["engine"] == version("softlabel-engine")
