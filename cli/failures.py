"""Whatever stopped a command → one plain message and an exit code, a traceback only on request.

| What stopped it | Exit code |
|---|---|
| an error of a room's tree (anything that carries an `exit_code`) | that code, 2 |
| a Python package that isn't installed, a full disk, anything unexpected | 2 |
| SIGTERM; the same command resumes | 75 |
| Ctrl-C; the same command resumes | 130 |
"""

import errno
import shlex
import sys
import traceback
from dataclasses import dataclass
from typing import Any

from cli.signals import Terminated

EXIT_DONE = 0
EXIT_DAMAGE = 1
EXIT_REFUSED = 2
EXIT_TERMINATED = 75
EXIT_INTERRUPTED = 130

ROOMS = ("engine", "beton_builder", "labelstore", "cli", "benchmarks")
LONGEST_MESSAGE = 600


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What a failed command tells: `kind` is the exception's name, `message` is for a person."""

    kind: str
    message: str
    exit_code: int

    def document(self) -> dict[str, Any]:
        """The JSON document that `--json` prints instead of a result."""
        return {"error": {"type": self.kind, "message": self.message, "exit_code": self.exit_code}}


def explain(error: BaseException) -> Failure:
    """Message and exit code for whatever ended a command."""
    message, code = _message_and_code(error)
    return Failure(kind=type(error).__name__, message=message, exit_code=code)


def show(failure: Failure, error: BaseException, *, debug: bool) -> None:
    """Write the failure, and with `debug` its traceback before it, to stderr."""
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    stopped = failure.exit_code in (EXIT_TERMINATED, EXIT_INTERRUPTED)
    print(failure.message if stopped else f"Error: {failure.message}", file=sys.stderr)


def _message_and_code(error: BaseException) -> tuple[str, int]:
    if isinstance(error, KeyboardInterrupt):
        return f"Stopped by Ctrl-C. {_how_to_resume()}", EXIT_INTERRUPTED
    if isinstance(error, Terminated):
        return f"Stopped by SIGTERM. {_how_to_resume()}", EXIT_TERMINATED
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        return str(error), code
    if isinstance(error, ModuleNotFoundError) and _is_foreign(error):
        return (
            f"the Python package {error.name!r} is needed for this and isn't installed. "
            "Run scripts/setup, which installs everything that the project uses.",
            EXIT_REFUSED,
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" for {error.filename}" if error.filename else ""
        return f"no space left on the disk{where}. Free some. {_how_to_resume()}", EXIT_REFUSED
    # A message of many lines (numba's, say) would bury the line that says how to see it all.
    said = " ".join(str(error).split())
    if len(said) > LONGEST_MESSAGE:
        said = f"{said[:LONGEST_MESSAGE]} …"
    named = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"{named} (run again with --debug for the traceback)", EXIT_REFUSED


def _is_foreign(error: ModuleNotFoundError) -> bool:
    return bool(error.name) and str(error.name).split(".")[0] not in ROOMS


def _how_to_resume() -> str:
    return f"To go on, type the same command again:\n  {typed_command()}"


def typed_command() -> str:
    """This process's command as a person would type it again."""
    return shlex.join(["engine", *sys.argv[1:]])
