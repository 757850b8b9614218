"""Stopped from outside, a command says how to go on, cleans up, and exits with 75 or 130."""

import json
import signal
import subprocess
from collections.abc import Callable

import pytest

from cli.signals import Terminated, sigterm_raises

Fresh = Callable[..., "subprocess.Popen[str]"]

# A build that says on stderr that it has begun, swallows Exceptions, and then waits.
PATIENT_BUILD = """
import sys, time
import beton_builder

def build_beton(**options):
    try:
        for _ in range(600):
            try:
                print("begun", file=sys.stderr, flush=True)
                time.sleep(0.1)
            except Exception:
                pass
    finally:
        print("cleaned up", file=sys.stderr, flush=True)

beton_builder.build_beton = build_beton
sys.argv[0] = "engine"
from cli.main import run
run()
"""
BUILD = ("build-beton", "--source", "my images", "--out", "d")


@pytest.mark.parametrize(
    ("number", "code", "name"),
    [(signal.SIGTERM, 75, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")],
)
def test_a_signal_cleans_up_and_says_how_to_go_on(
    fresh_python: Fresh, number: int, code: int, name: str
) -> None:
    process = fresh_python(PATIENT_BUILD, *BUILD, "--json")
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(number)
    if number == signal.SIGTERM:
        process.send_signal(number)  # as schedulers do
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    assert "cleaned up" in stderr
    assert f"Stopped by {name}." in stderr
    assert "engine build-beton --source 'my images' --out d --json" in stderr
    assert "Traceback" not in stderr
    assert json.loads(stdout)["error"]["exit_code"] == code


def test_a_forked_worker_dies_of_sigterm_as_any_process_does(fresh_python: Fresh) -> None:
    process = fresh_python(
        """
import os, signal, sys, time
from cli.signals import sigterm_raises
with sigterm_raises():
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    )
    stdout, stderr = process.communicate(timeout=30)
    assert (stdout.strip(), stderr) == (str(-signal.SIGTERM), "")


def test_the_handler_that_was_there_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with sigterm_raises():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_late_second_sigterm_does_not_change_the_exit_code() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(Terminated), sigterm_raises():
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
