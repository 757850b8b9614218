"""`engine --help` is quick, imports nothing heavy, and lists every command."""

import json
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version

import pytest
import typer

from beton_builder.sources.known_names import KNOWN_NAMES
from cli.main import app

Fresh = Callable[..., "subprocess.Popen[str]"]

HEAVY = {
    "torch",
    "torchvision",
    "zarr",
    "ray",
    "ffcv",
    "numpy",
    "pyarrow",
    "numba",
    "timm",
    "cv2",
    "duckdb",
}
COMMANDS = (
    "build-beton",
    "train-expert",
    "dump-labels",
    "convert-labels",
    "import-labels",
    "learn-labels",
    "derive-labels",
    "sweep-students",
    "status",
    "results",
    "why",
    "diff",
    "recommend",
    "export",
    "evaluate",
    "report",
    "reproduce",
    "verify",
    "info",
    "doctor",
    "bench",
    "demo",
)
LOOKING = ("status", "results", "why", "diff", "recommend", "verify", "info", "doctor")
REPORT_MODULES = """
import atexit, json, sys
from cli.main import run
atexit.register(lambda: print(json.dumps(sorted({m.split(".")[0] for m in sys.modules})),
                              file=sys.stderr))
run()
"""


@pytest.mark.parametrize("arguments", [["--help"], ["train-expert", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(fresh_python: Fresh, arguments: list[str]) -> None:
    process = fresh_python(REPORT_MODULES, *arguments)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    loaded = set(json.loads(errors.splitlines()[-1]))
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_help_returns_in_half_a_second(fresh_python: Fresh) -> None:
    def seconds() -> float:
        started = time.perf_counter()
        process = fresh_python("from cli.main import run; run()", "--help")
        process.communicate(timeout=60)
        assert process.returncode == 0
        return time.perf_counter() - started

    assert min(seconds() for _ in range(4)) < 0.5


def test_help_lists_every_command(engine: Callable) -> None:
    outcome = engine("--help")
    assert outcome.code == 0
    assert [line.split()[0] for line in outcome.stdout.splitlines()[-len(COMMANDS) :]] == list(
        COMMANDS
    )


def test_no_summary_of_a_command_is_cut_off(
    engine: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    summaries = engine("--help").stdout.splitlines()[-len(COMMANDS) :]
    assert [line for line in summaries if line.endswith(("...", "…"))] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_an_option_stands_by_itself(command: str) -> None:
    options = typer.main.get_command(app).commands[command].params
    helps = [str(getattr(option, "help", "")) for option in options]
    assert [text for text in helps if text.startswith(("Of ", "Its ", "Their "))] == []
    assert all(text.endswith((".", "?")) for text in helps)


def test_names_that_are_downloaded_and_presets_are_in_the_help() -> None:
    commands = typer.main.get_command(app).commands
    (source,) = (p.help for p in commands["build-beton"].params if p.name == "source")
    assert all(name in source for name in KNOWN_NAMES)
    for command in ("train-expert", "sweep-students"):
        (config,) = (p for p in commands[command].params if p.name == "config")
        assert "PRESET" in config.metavar
        assert "docs/plans.md" in config.help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_json_and_debug(engine: Callable, command: str) -> None:
    outcome = engine(command, "--help")
    assert outcome.code == 0
    assert outcome.stderr == ""
    assert "--json" in outcome.stdout
    assert "--debug" in outcome.stdout
    assert ("--dry-run" in outcome.stdout) == (command not in LOOKING)


def test_version_is_the_distributions(engine: Callable) -> None:
    outcome = engine("--version")
    assert outcome == (0, f"softlabel-engine {version('softlabel-engine')}\n", "")


def test_no_command_shows_the_help_and_is_a_usage_error(engine: Callable) -> None:
    outcome = engine()
    assert outcome.code == 2
    assert "Commands:" in outcome.stderr
