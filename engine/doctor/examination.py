"""The checks in their order, and the one function that carries them out.

A check that raises is a row like any other: its message, and what to type first.
"""

from __future__ import annotations

import platform
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.doctor import arithmetic, artefacts, limits, native, software, storage
from engine.doctor.finding import (
    PROBLEM,
    WARNING,
    Asked,
    Finding,
    brief,
    problem,
    warning,
)
from engine.training.progress import Progress, no_progress

REPORT_IT = "report it, with this whole output"


@dataclass(frozen=True, kw_only=True)
class Check:
    """``required``: that it can't be carried out is a problem, not a warning.

    ``repair``: what to type when it can't.
    """

    name: str
    look: Callable[[Asked], Finding]
    required: bool = False
    repair: str = REPORT_IT


CHECKS = (
    Check(name="python", look=software.check_python, required=True, repair=software.SETUP),
    Check(name="packages", look=software.check_packages, required=True, repair=software.SETUP),
    Check(name="torch", look=arithmetic.check_torch, required=True, repair=software.SETUP),
    Check(name="machine", look=software.check_machine),
    Check(name="precision", look=arithmetic.check_precision),
    Check(name="compiler", look=arithmetic.check_compiler),
    Check(name="gpu", look=arithmetic.check_gpu),
    Check(name="cores", look=limits.check_cores),
    Check(name="load", look=limits.check_load),
    Check(name="memory", look=limits.check_memory),
    Check(name="shared_memory", look=limits.check_shared_memory),
    Check(name="open_files", look=limits.check_open_files),
    Check(name="out_folder", look=storage.check_out_folder, repair="cd"),
    Check(
        name="temporary_folder",
        look=storage.check_temporary_folder,
        required=True,
        repair="export TMPDIR=FOLDER",
    ),
    Check(name="compile_cache", look=storage.check_compile_cache),
    Check(name="download_cache", look=storage.check_download_cache),
    Check(
        name="label_kernels",
        look=native.check_label_kernels,
        required=True,
        repair="export NUMBA_CACHE_DIR=FOLDER",
    ),
    Check(name="jpeg_decoder", look=native.check_jpeg_decoder),
    Check(name="checksums", look=native.check_checksums),
    Check(name="zarr", look=native.check_zarr),
    Check(name="ffcv", look=native.check_ffcv),
    Check(name="extras", look=software.check_extras),
)


def check_environment(
    *,
    data: str | Path | None = None,
    labels: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Say what works here, what doesn't, and what to type next.

    Args:
        data: a dataset that is to be used; says how its images will be held.
        labels: a label store that is to be used; it must be of the dataset, if that is given, too.
        out: where the next artefact is to be; by default the working folder is looked at.

    Returns:
        ``checks``, in order: ``check``, ``status`` (ok, warning, problem), ``found`` and ``next``
        (None where ok); ``versions`` of required packages, None where one is missing; ``warnings``
        and ``problems``, the names of such checks; ``seconds``; ``message``. With problems, the
        main path can't be walked here. Nothing of the environment is in it but the names of the
        variables that decided something, and the home folder is written as ``~``.
    """
    asked = Asked(
        data=None if data is None else Path(data),
        labels=None if labels is None else Path(labels),
        out=None if out is None else Path(out),
    )
    tell = progress or no_progress
    started = time.perf_counter()
    rows: list[dict[str, Any]] = []
    for check in checks_of(asked):
        tell(f"check {_words(check.name)}", 0, 1)
        rows.append({"check": check.name, **_row(carry_out(check, asked))})
        tell(f"check {_words(check.name)}", 1, 1)
    named = {
        status: [row["check"] for row in rows if row["status"] == status]
        for status in (WARNING, PROBLEM)
    }
    return {
        "checks": rows,
        "versions": _versions(),
        "warnings": named[WARNING],
        "problems": named[PROBLEM],
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": time.perf_counter() - started,
        "message": _message(len(named[WARNING]), len(named[PROBLEM])),
    }


def checks_of(asked: Asked) -> list[Check]:
    """The checks of any machine, and those of the artefacts that were named."""
    checks = list(CHECKS)
    if asked.data is not None:
        repair = f"engine verify {shlex.quote(str(asked.data))}"
        checks.append(Check(name="data", look=artefacts.check_data, required=True, repair=repair))
    if asked.labels is not None:
        repair = f"engine verify {shlex.quote(str(asked.labels))}"
        checks.append(
            Check(name="labels", look=artefacts.check_labels, required=True, repair=repair)
        )
    return checks


def carry_out(check: Check, asked: Asked) -> Finding:
    """What the check finds; if it raises, that."""
    try:
        return check.look(asked)
    except Exception as error:
        repair = software.SETUP if isinstance(error, ImportError) else check.repair
        return (problem if check.required else warning)(_said(error), repair)


def _said(error: Exception) -> str:
    said = brief(error) or "no message"
    if isinstance(getattr(error, "exit_code", None), int):  # worded for a person, by a room
        return said
    if isinstance(error, ImportError) and error.name:
        return f"needs {error.name}: {said}"
    return f"{type(error).__name__}: {said} ({_where(error)})"


def _where(error: Exception) -> str:
    """File and line that raised, for a report; the file's name alone."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "somewhere"
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def _row(finding: Finding) -> dict[str, Any]:
    return {
        "status": finding.status,
        "found": without_home(finding.found),
        "next": without_home(finding.next) or None,
    }


def without_home(text: str) -> str:
    """The home folder, whose name is a person's, as ``~``."""
    home = str(Path.home()).rstrip("/")
    return re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text) if home else text


def _versions() -> dict[str, str | None]:
    try:
        return {"python": platform.python_version(), **software.package_versions()}
    except Exception:  # a row says so already: the check of the packages asks the same
        return {"python": platform.python_version()}


def _message(warnings: int, problems: int) -> str:
    beside = f"; {warnings} warning{'' if warnings == 1 else 's'}" if warnings else ""
    if problems:
        counted = "1 problem" if problems == 1 else f"{problems} problems"
        return f"{counted} to solve before the whole path works here{beside}."
    return f"All that is required works{beside}."


def _words(name: str) -> str:
    return name.replace("_", " ")
