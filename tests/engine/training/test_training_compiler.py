"""Whether torch.compile works: the very compiler it calls is tried, and without it runs go on."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import engine
from engine.training import compiler, precision
from engine.training.compiler import compiler_command, compiler_fault, first_error, try_compiler
from engine.training.precision import can_compile, choose_arithmetic

CHECKOUT = Path(engine.__file__).parents[1]
pytestmark = pytest.mark.compiled  # leaves ENGINE_EAGER alone


def fault():
    found = compiler_fault()
    assert found is not None
    assert not can_compile()
    return found


def test_without_any_compiler_there_is_one_to_install(programs):
    assert "'g++', which isn't there" in fault().reason
    assert fault().remedy == "sudo apt-get install -y g++"


def test_a_compiler_that_torch_does_not_call_is_none(programs):
    programs(clangpp="exit 0")
    assert "'g++', which isn't there" in fault().reason
    assert fault().remedy == "export CXX=clang++"


@pytest.mark.parametrize("command", ["/nowhere/g++", "", "'unbalanced", "nothing-of-this-name -O2"])
def test_a_variable_that_names_no_program_hides_the_compiler_that_is_there(
    programs, monkeypatch, command
):
    programs(gpp="exit 0")
    monkeypatch.setenv("CXX", command)
    assert f"{command!r}, which isn't there" in fault().reason
    assert fault().remedy == "unset CXX"


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("probe.cpp:2:10: fatal error: Python.h: No such file", "python3.11-dev"),
        ("probe.cpp:3:10: fatal error: omp.h: No such file", "libomp-dev"),
        ("g++: internal compiler error: Killed", "apt-get install -y g++"),
        ("g++: error: unrecognized command-line option '-std=c++20'", "apt-get install -y g++"),
    ],
)
def test_a_compiler_that_fails_is_quoted(programs, message, remedy):
    programs(gpp=f'echo In file included from x: >&2; echo "{message}" >&2; exit 1')
    assert message in fault().reason
    assert remedy in fault().remedy


def test_a_compiler_that_speaks_in_tongues_is_a_fault(programs):
    programs(gpp=r"printf '\377error\376' >&2; exit 1")
    assert "error" in fault().reason


def test_a_compiler_that_hangs_is_left(programs, monkeypatch):
    monkeypatch.setattr(compiler, "PATIENCE", 0.2)
    programs(gpp="while :; do :; done")
    assert "took over" in fault().reason


def test_a_compiler_that_cannot_be_started_is_a_fault(programs):
    (programs() / "g++").write_bytes(b"\x7fELF of another machine")
    (programs() / "g++").chmod(0o755)
    assert "can't be started" in fault().reason


def test_what_cannot_be_loaded_is_a_fault(programs):
    programs(gpp='while [ "$1" != -o ]; do shift; done; echo nothing > "$2"')
    assert "can't be loaded" in fault().reason
    assert "TORCHINDUCTOR_CACHE_DIR" in fault().remedy


def test_a_folder_in_which_nothing_can_be_built_is_a_fault(programs):
    programs(gpp="exit 0")
    found = try_compiler("g++", Path("/proc"))
    assert found is not None
    assert found.reason.startswith("nothing can be built in /proc: ")
    assert found.remedy == "export TORCHINDUCTOR_CACHE_DIR=FOLDER"


def test_the_answer_is_kept_and_another_search_path_is_tried_anew(programs, monkeypatch, tmp_path):
    folder = programs(gpp=f'echo again >> "{tmp_path}/count"; exit 1')
    for _ in range(3):
        assert not can_compile()
    assert (tmp_path / "count").read_text() == "again\n"
    monkeypatch.setenv("PATH", f"{folder}:/nowhere")
    assert not can_compile()
    assert (tmp_path / "count").read_text() == "again\nagain\n"


def test_eager_networks_ask_no_compiler(programs, monkeypatch, tmp_path):
    programs(gpp=f'touch "{tmp_path}/asked"; exit 1')
    assert not choose_arithmetic("fp32", compiled=False).compiled
    monkeypatch.setenv("ENGINE_EAGER", "1")
    assert not choose_arithmetic("fp32").compiled
    assert not (tmp_path / "asked").exists()


def test_running_eagerly_for_want_of_a_compiler_is_said_once(programs, monkeypatch, caplog):
    monkeypatch.setattr(precision, "_say_why_not", precision._say_why_not.__wrapped__)
    with caplog.at_level(logging.WARNING):
        assert not choose_arithmetic("fp32").compiled
    (record,) = caplog.records
    assert "'g++', which isn't there. Next: sudo apt-get install -y g++" in record.getMessage()


def test_a_compiler_that_torch_installed_itself_comes_first(programs, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_INDUCTOR_INSTALL_GXX", "1")
    assert compiler_command() == "g++"
    installed = tmp_path / "cache" / "gcc" / "bin" / "g++"
    installed.parent.mkdir(parents=True)
    installed.touch()
    assert compiler_command() == str(installed)


def test_a_gpu_needs_triton_and_a_c_compiler(programs, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: object())
    assert fault().remedy == "sudo apt-get install -y gcc"
    programs(gcc="exit 0")
    assert can_compile()
    monkeypatch.setenv("CC", "/nowhere/cc")
    assert not can_compile()
    monkeypatch.delenv("CC")
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None)
    assert "Triton" in fault().reason


def test_an_empty_complaint_is_said_to_be_one():
    assert first_error("") == "it says nothing"


@pytest.mark.parametrize("command", ["g++", "env g++"])
def test_a_working_compiler_is_tried_and_leaves_nothing(tmp_path, command):
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine")
    assert try_compiler(command, tmp_path) is None
    assert not list(tmp_path.iterdir())


# Trains, then has torch itself say what it makes of the same compiler.
TRAIN = """
import json, sys, engine, torch
engine.train_expert(sys.argv[1], sys.argv[2], model="convnet-d2-w8", epochs=1,
                    overrides={"batch_size": 32, "precision": "fp32"})
try:
    torch.compile(lambda x: x.sin() + 1)(torch.ones(8))
    said = "it compiles"
except Exception as error:
    said = str(error)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def eager_weights(small_data, tmp_path_factory):
    """The bytes of an expert after an epoch, trained eagerly because that was asked for."""
    out = tmp_path_factory.mktemp("eager") / "run"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_EAGER", "1")
        engine.train_expert(
            small_data,
            out,
            model="convnet-d2-w8",
            epochs=1,
            overrides={"batch_size": 32, "precision": "fp32"},
        )
    torch.set_num_threads(threads)
    return (out / "checkpoints" / "epoch_0001.safetensors").read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("condition", ["only clang++", "CXX is broken"])
def test_a_run_that_torch_could_not_compile_goes_on_eagerly(
    programs, small_data, eager_weights, tmp_path, condition
):
    variables = {"CXX": str(programs() / "broken")} if condition == "CXX is broken" else {}
    programs(clangpp="exit 0") if condition == "only clang++" else programs(gpp="exit 0")
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(small_data), str(tmp_path / "run")],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "No working C++ compiler found" in json.loads(done.stdout.splitlines()[-1])
    assert done.stderr.count("Networks run without torch.compile") == 1
    record = engine.training.open_run(tmp_path / "run").record(1)
    assert record["environment"]["compiled"] is False
    checkpoint = tmp_path / "run" / "checkpoints" / "epoch_0001.safetensors"
    assert checkpoint.read_bytes() == eager_weights
