"""scripts/setup refuses what it can't use, in words, before it touches anything."""

import os
import subprocess
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
        (["--gpu"], {}, "unknown argument '--gpu'; known: --cpu, --help."),
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
    for name in ("ENGINE_VENV", "ENGINE_PYTHON", "ENGINE_TORCH_INDEX", "--cpu"):
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
