"""Running the command in this process, where its functions can be replaced, and in a fresh one."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cli.main import main

CHECKOUT = Path(__file__).resolve().parents[2]


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str


Engine = Callable[..., Outcome]


@pytest.fixture
def engine(capfd: pytest.CaptureFixture[str]) -> Engine:
    """`engine("info", path)` runs that command line in this process."""

    def run(*arguments: object) -> Outcome:
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def returning(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """`returning(room, name, value)`: that function returns `value` (raises, if an exception).

    Gives a list to which each call adds its keyword arguments, whoever listens left out.
    """

    def replace(room: Any, name: str, value: Any) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def function(*arguments: Any, **keywords: Any) -> Any:
            for listener in ("progress", "on_event"):
                keywords.pop(listener, None)
            calls.append(keywords)
            if isinstance(value, BaseException):
                raise value
            return value

        # Not setattr, which would first look the name up, and so import what it stands for.
        monkeypatch.setitem(vars(room), name, function)
        return calls

    return replace


@pytest.fixture
def fresh_python() -> Callable[..., subprocess.Popen[str]]:
    """`fresh_python(code, arguments)` starts that code in a new interpreter, its output piped."""

    def start(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
