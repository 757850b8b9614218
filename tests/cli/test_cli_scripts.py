"""scripts/setup refuses what it can't use, in words, before it touches anything."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def setup(venv: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ENGINE_")}
    return subprocess.run(
        [SCRIPTS / "setup", *arguments],
        env={**clean, "ENGINE_VENV": str(venv), **environment},
        cwd=venv.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (
            ["--gpu"],
            {},
            "unknown argument '--gpu'; known: --cpu, --without-ffcv, --with-ffcv, --help.",
        ),
        ([], {"ENGINE_PYTHON": "/bin/false"}, "isn't a working Python 3.11"),
    ],
)
def test_what_it_cannot_use_is_refused(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    outcome = setup(tmp_path / "venv", *arguments, **environment)
    assert outcome.returncode == 2
    assert message in outcome.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="elsewhere PyTorch comes without CUDA")
def test_cpu_only_says_where_the_address_is_found(tmp_path: Path) -> None:
    outcome = setup(tmp_path / "venv", "--cpu")
    assert outcome.returncode == 2
    assert "ENGINE_TORCH_INDEX=ADDRESS scripts/setup --cpu" in outcome.stderr
    assert not (tmp_path / "venv").exists()


def test_help_names_the_environment_variables(tmp_path: Path) -> None:
    outcome = setup(tmp_path / "venv", "--help")
    assert outcome.returncode == 0
    for name in ("ENGINE_VENV", "ENGINE_PYTHON", "ENGINE_TORCH_INDEX", "--cpu", "--without-ffcv"):
        assert name in outcome.stdout


def test_every_version_is_pinned_exactly_and_comes_from_no_path() -> None:
    lines = (SCRIPTS / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 50
    for pin in pins:
        name, _, version = pin.partition("==")
        assert name
        assert version[0].isdigit()
        assert not set(pin) & set("/@+ ;")


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`machine("--cpu", libraries=True)`: setup by a user without rights; pip only writes down.

    What pip and the final import were asked for is in `asked`, a line each.
    """
    stand_ins = {
        "id": "echo 1000",
        "sudo": "exit 1",
        "pkg-config": 'exit "$LIBRARIES"',
        "apt-get": "exit 1",
        "c++": "",
    }
    commands, venv = tmp_path / "commands", tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    commands.mkdir()
    for name, body in stand_ins.items():
        _script(commands / name, body)
    _script(
        venv / "bin" / "python",
        f'case "$*" in *"-m pip install"* | *"import torch"*) echo "$*" >>{tmp_path}/asked ;;\n'
        f'*"-m pip"*) ;;\n*) exec {sys.executable} "$@" ;;\nesac',
    )
    _script(venv / "bin" / "engine", "")

    def run(*arguments: str, libraries: bool = False) -> subprocess.CompletedProcess[str]:
        (tmp_path / "asked").write_text("")
        path = f"{commands}:{os.environ['PATH']}"
        return setup(venv, *arguments, PATH=path, LIBRARIES="0" if libraries else "1")

    return run


def _script(file: Path, body: str) -> None:
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)


def test_without_libraries_and_rights_it_names_the_way_without_ffcv(
    machine: Callable, tmp_path: Path
) -> None:
    outcome = machine()
    assert outcome.returncode == 2
    assert "sudo apt-get install" in outcome.stderr
    assert "scripts/setup --without-ffcv" in outcome.stderr
    assert (tmp_path / "asked").read_text() == ""


def test_without_ffcv_needs_no_libraries_and_is_kept_to(machine: Callable, tmp_path: Path) -> None:
    outcome = machine("--without-ffcv")
    assert outcome.returncode == 0, outcome.stderr
    install, modules = (tmp_path / "asked").read_text().splitlines()
    assert install.endswith(f"-e {SCRIPTS.parent}[tools]")
    assert modules.endswith("import torch,torchvision")
    assert f". {tmp_path}/venv/bin/activate" in outcome.stdout.splitlines()[-1]
    again = machine()
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stdout
    assert f". {tmp_path}/venv/bin/activate" in again.stdout.splitlines()[-1]
    assert machine("--with-ffcv").returncode == 2


def test_by_default_ffcv_is_installed_and_imported(machine: Callable, tmp_path: Path) -> None:
    machine("--without-ffcv")
    for arguments in (("--with-ffcv",), ()):
        outcome = machine(*arguments, libraries=True)
        assert outcome.returncode == 0, outcome.stderr
        if arguments:
            install, modules = (tmp_path / "asked").read_text().splitlines()
            assert install.endswith(f"-e {SCRIPTS.parent}[dev]")
            assert modules.endswith("import torch,torchvision,ffcv")
    assert "nothing to do" in outcome.stdout


def test_ffcv_belongs_to_dev_and_to_nothing_that_everybody_needs() -> None:
    project = tomllib.loads((SCRIPTS.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert extras["dev"] == [f"{project['name']}[ffcv,tools]"]
    assert [line.split("==")[0] for line in extras["ffcv"]] == ["ffcv"]
    assert not [
        line for line in (*project["dependencies"], *extras["tools"]) if line.startswith("ffcv")
    ]
