"""torch, compiler and GPU, each as it is found where something is wrong with it."""

from __future__ import annotations

import re
import shutil
from types import SimpleNamespace

import pytest
import torch

from engine.doctor import arithmetic
from engine.doctor.arithmetic import check_compiler, check_gpu, check_precision, check_torch
from engine.doctor.finding import Asked
from engine.training import compiler, precision

ANY = Asked()
GB = 10**9


def test_torch_is_described():
    found = check_torch(ANY)
    assert str(torch.__version__) in found.found
    assert torch.backends.cpu.get_cpu_capability() in found.found


def test_throttled_vector_instructions_are_a_warning(monkeypatch):
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    found = check_torch(ANY)
    assert (found.status, found.next) == ("warning", "unset ATEN_CPU_CAPABILITY")


@pytest.mark.parametrize(("gain", "chosen"), [(2.0, "bf16"), (0.4, "fp32")])
def test_precision_is_what_runs_will_choose(monkeypatch, gain, chosen):
    monkeypatch.setattr(precision, "bf16_gain", lambda device: gain)
    found = check_precision(ANY)
    assert found.status == "ok"
    assert found.found.startswith(f"{chosen} on the ")
    assert f"{gain:.1f}×" in found.found
    assert precision.choose_arithmetic().precision == chosen


def test_compilation_switched_off_is_a_warning(programs, monkeypatch):
    monkeypatch.setenv("ENGINE_EAGER", "1")
    found = check_compiler(ANY)
    assert (found.status, found.next) == ("warning", "unset ENGINE_EAGER")


def test_no_compiler_is_a_warning_because_runs_go_on_without(programs):
    found = check_compiler(ANY)
    assert found.status == "warning"
    assert found.next == "sudo apt-get install -y g++"
    assert not precision.can_compile()


def test_a_compiler_that_torch_does_not_call_is_a_warning_as_runs_go_on_without(programs):
    programs(clangpp="exit 0")
    assert not precision.can_compile()
    found = check_compiler(ANY)
    assert found.status == "warning"
    assert "'g++'" in found.found
    assert found.next == "export CXX=clang++"


def test_a_compiler_that_fails_is_a_warning_with_its_own_words(programs):
    programs(gpp="echo 'fatal error: Python.h: No such file' >&2; exit 1")
    found = check_compiler(ANY)
    assert found.status == "warning"
    assert "networks run without torch.compile" in found.found
    assert "Python.h: No such file" in found.found
    assert found.next == "sudo apt-get install -y python3.11-dev"


def test_the_page_of_a_talkative_compiler_is_cut(programs):
    programs(gpp="i=0; while [ $i -lt 999 ]; do printf 'error '; i=$((i+1)); done >&2; exit 1")
    assert len(check_compiler(ANY).found) < 500


def test_a_working_compiler_is_named_with_its_version(monkeypatch):
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine")
    monkeypatch.delenv("ENGINE_EAGER", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = check_compiler(ANY)
    assert found.status == "ok"
    assert re.fullmatch(r"g\+\+ \d+\.\d+\.\d+: builds and loads", found.found)


@pytest.fixture
def gpu(monkeypatch):
    """`gpu(free=…)`: as if torch had one."""

    def install(free=70 * GB, fault=None):
        def compute(*_, **__):
            if fault is not None:
                raise RuntimeError(fault)
            return torch.zeros(8)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda _: SimpleNamespace(name="H100")
        )
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 80 * GB))
        monkeypatch.setattr(torch, "ones", compute)

    return install


@pytest.fixture
def driver(monkeypatch, tmp_path):
    """A driver of NVIDIA's is loaded, and torch can't use it."""
    trace = tmp_path / "version"
    trace.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19\n")
    monkeypatch.setattr(arithmetic, "NVIDIA_TRACES", (trace,))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_no_gpu_is_fine(monkeypatch, tmp_path):
    monkeypatch.setattr(arithmetic, "NVIDIA_TRACES", (tmp_path / "nothing",))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check_gpu(ANY).found == "none; the CPU computes"


def test_a_gpu_is_named_with_its_memory(gpu):
    gpu()
    found = check_gpu(ANY)
    assert found.status == "ok"
    assert "H100, 70.0 GB of 80.0 GB free" in found.found


def test_an_occupied_gpu_is_a_warning(gpu):
    gpu(free=GB)
    found = check_gpu(ANY)
    assert (found.status, found.next) == ("warning", "nvidia-smi")


def test_a_gpu_that_cannot_compute_is_a_problem(gpu):
    gpu(fault="CUDA error: no kernel image is available for execution on the device")
    found = check_gpu(ANY)
    assert found.status == "problem"
    assert "no kernel image" in found.found
    assert found.next == "export CUDA_VISIBLE_DEVICES="


def test_a_driver_too_old_for_torch_is_a_warning_with_torchs_reason(driver, monkeypatch):
    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 12020).")

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", init)
    found = check_gpu(ANY)
    assert found.status == "warning"
    assert "535.129.03" in found.found
    assert "too old" in found.found


def test_torch_for_a_cpu_beside_a_gpu_is_a_warning(driver, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    found = check_gpu(ANY)
    assert found.status == "warning"
    assert "built for a CPU" in found.found


def test_hidden_gpus_are_a_warning(driver, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert check_gpu(ANY).next == "unset CUDA_VISIBLE_DEVICES"


def test_a_gpu_without_a_compiler_for_it_is_a_warning(programs, gpu, monkeypatch):
    gpu()
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: object())
    found = check_compiler(ANY)
    assert (found.status, found.next) == ("warning", "sudo apt-get install -y gcc")
    programs(gcc="exit 0")
    assert check_compiler(ANY).found == "Triton with gcc"
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None)
    assert check_compiler(ANY).status == "warning"
