"""stdout carries the result and nothing else; text is aligned, JSON is JSON."""

import json
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cli.presentation import as_json, as_text

Fresh = Callable[..., "subprocess.Popen[str]"]

NOISY_BUILD = """
import os, sys
import beton_builder

def build_beton(**options):
    print("from Python")
    os.write(1, b"from C\\n")
    os.system("echo from a child")
    return {"samples": 7, "big": list(range(100_000))}

beton_builder.build_beton = build_beton
from cli.main import run
run()
"""
BUILD = ("build-beton", "--source", "s", "--out", "d")


def test_json_is_the_only_thing_on_stdout(fresh_python: Fresh) -> None:
    process = fresh_python(NOISY_BUILD, *BUILD, "--json")
    stdout, stderr = process.communicate(timeout=30)
    assert json.loads(stdout)["samples"] == 7
    assert stderr.splitlines() == ["from Python", "from C", "from a child"]


def test_a_reader_that_goes_away_is_no_error(fresh_python: Fresh) -> None:
    process = fresh_python(NOISY_BUILD, *BUILD, "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    stderr = process.stderr.read()
    assert process.wait(timeout=30) == 0
    assert "Broken" not in stderr
    assert "Traceback" not in stderr


def test_a_terminal_without_the_characters_is_no_error(fresh_python: Fresh) -> None:
    code = NOISY_BUILD.replace('"samples": 7', '"accuracy": "16.0 ± 0.1"')
    process = fresh_python(code, *BUILD, PYTHONIOENCODING="ascii")
    stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "accuracy  16.0 ? 0.1" in stdout


def test_json_has_plain_numbers_and_null_for_what_json_lacks() -> None:
    result = {
        "path": Path("a/b"),
        "std": math.nan,
        "best": np.float32(0.5),
        "epochs": np.arange(3),
        "pair": (1, math.inf),
        "by epoch": {13: None},
    }
    assert json.loads(as_json(result)) == {
        "path": "a/b",
        "std": None,
        "best": 0.5,
        "epochs": [0, 1, 2],
        "pair": [1, None],
        "by epoch": {"13": None},
    }


def test_what_has_no_place_in_json_is_an_error() -> None:
    with pytest.raises(TypeError, match="a result holds a object"):
        as_json({"x": object()})


def test_text_aligns_values_and_ends_with_the_message() -> None:
    text = as_text(
        {
            "message": "Already complete.",
            "id": "3f",
            "num_samples": 60000,
            "size_bytes": 1_500_000,
            "classes": [str(n) for n in range(100)],
            "validation": None,
            "seconds": {"build": 12.25, "labels": 130},
        }
    )
    assert text.splitlines() == [
        "id           3f",
        "num samples  60000",
        "size bytes   1.5 MB",
        "classes      0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … (100 in all)",
        "validation   –",
        "seconds:",
        "  build   12 s",
        "  labels  2 min 10 s",
        "Already complete.",
    ]


def test_tables_come_first_and_are_never_cut_short_in_a_pipe() -> None:
    long_name = "expert [bold]" + "x" * 200
    text = as_text(
        {
            "report": "r/index.html",
            "table": [{"labels": "hard", "ipc": 1}, {"labels": long_name, "ipc": 50, "n": 3}],
        }
    )
    header, first, second, last = (line.rstrip() for line in text.splitlines())
    assert header.split() == ["labels", "ipc", "n"]
    assert first.split() == ["hard", "1", "–"]
    assert second.startswith(long_name)
    assert last == "report  r/index.html"


def test_a_table_leaves_long_groups_to_json_and_says_so() -> None:
    by_epoch = {str(epoch): 4.5 for epoch in range(20)}
    row = {"expert": "a", "size": {"height": 32, "width": 16}, "entropy": by_epoch}
    nested = {"expert": "b", "about": {"view": {"crop": 4}}}
    lines = as_text({"views": [row, nested]}).splitlines()
    assert "height 32, width 16" in lines[2]
    assert "4.5" not in "".join(lines)
    assert lines[-1] == "(--json also has: entropy, about)"


@pytest.mark.parametrize(
    ("result", "ending"),
    [
        ({"ok": True, "checked": 5, "problems": []}, ["checked  5", "No damage found."]),
        (
            {"ok": False, "checked": 5, "problems": ["a", "b"]},
            ["checked  5", "- a", "- b", "Damage found: 2 problems."],
        ),
    ],
)
def test_verification_ends_with_its_verdict(result: dict, ending: list[str]) -> None:
    assert as_text(result).splitlines() == ending


def test_many_problems_are_counted_rather_than_listed() -> None:
    lines = as_text({"ok": False, "problems": [f"p{n}" for n in range(1000)]}).splitlines()
    assert len(lines) == 22
    assert lines[-2:] == [
        "… and 980 more; --json lists them all.",
        "Damage found: 1,000 problems.",
    ]


def test_no_color_codes_where_no_terminal_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TERM", "xterm-256color")
    assert "\x1b" not in as_text({"table": [{"a": 1}], "x": 2})
