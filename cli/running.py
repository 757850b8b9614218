"""One command's envelope: run the work with progress, put its result on stdout, pick the exit code.

Libraries that print (compilers, data loaders) would spoil `--json`, so while the work runs
everything written to stdout, by Python or by C, goes to stderr.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any, NoReturn

import typer

from cli import failures
from cli.presentation import as_json, as_text
from cli.progress import Progress
from cli.signals import Terminated

Work = Callable[[Progress], Mapping[str, Any]]


def carry_out(work: Work, *, json: bool, debug: bool, dry_run: bool = False) -> NoReturn:
    """Run `work(progress)`, show its result or its failure, end the command with its exit code.

    A result with `"ok": False`, or with `"failed"` above zero, ends with 1: the work ran, but found
    damage or left some trials undone. A plan (`dry_run`) ends with 0.
    """
    try:
        with stdout_reserved(), Progress() as progress:
            result = work(progress)
    except (Exception, KeyboardInterrupt, Terminated) as error:
        failure = failures.explain(error)
        failures.show(failure, error, debug=debug)
        if json:
            write_stdout(as_json(failure.document()))
        raise typer.Exit(failure.exit_code) from None
    write_stdout(as_json(result) if json else as_text(result, dry_run=dry_run))
    raise typer.Exit(failures.EXIT_DONE if dry_run else exit_code(result))


def exit_code(result: Mapping[str, Any]) -> int:
    """1 if the result tells of damage or of failed trials, otherwise 0."""
    failed = result.get("failed")
    some_failed = failed > 0 if isinstance(failed, int) else bool(failed)
    damaged = result.get("ok") is False
    return failures.EXIT_DAMAGE if damaged or some_failed else failures.EXIT_DONE


def write_stdout(text: str) -> None:
    """Write `text` to stdout now; a reader that has gone (`| head`) is no error."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()


def silence_stdout() -> None:
    """Point stdout at nothing, so that Python's flush at exit doesn't complain of a broken pipe."""
    with open(os.devnull, "w") as nothing:  # noqa: PTH123 (os.devnull is no path of ours)
        os.dup2(nothing.fileno(), sys.stdout.fileno())


@contextmanager
def stdout_reserved() -> Iterator[None]:
    """Send what is written to stdout inside the block, at the level of the process, to stderr."""
    if sys.stdout is None or sys.stderr is None:
        yield
        return
    with redirect_stdout(sys.stderr), _descriptor_redirected(sys.__stdout__, sys.__stderr__):
        yield


@contextmanager
def _descriptor_redirected(stream: Any, target: Any) -> Iterator[None]:
    try:
        stream.flush()
        number, other = stream.fileno(), target.fileno()
    except (AttributeError, OSError, ValueError):  # a stream that has no descriptor, or a shut one
        yield
        return
    kept = os.dup(number)
    os.dup2(other, number)
    try:
        yield
    finally:
        stream.flush()
        os.dup2(kept, number)
        os.close(kept)
