"""A path → the kind of artefact that lies there, and which functions verify and describe it.

The kind is what the artefact says it is (`engine.destination`). Where that can't be read, a damaged
byte perhaps, the folder's other entries decide, so that `verify` can still say what is damaged.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import UnknownArtefactError
from engine.destination import kind_of, kinds_said

Function = Callable[..., dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of artefact: the name that its own record uses for it, and who answers for it."""

    name: str
    title: str
    traces: tuple[str, ...]
    """Glob patterns; an entry of the folder that matches one belongs to this kind alone."""
    room: str
    verifier: str
    describer: str

    def verify(self, path: Path, progress: Callable[[str, int, int], None]) -> dict[str, Any]:
        """The room's own verification: `{"ok": …, "checked": …, "problems": […]}`."""
        verify: Function = getattr(importlib.import_module(self.room), self.verifier)
        if "progress" in inspect.signature(verify).parameters:
            return verify(path, progress=progress)
        return verify(path)  # a report, for one, is read in an instant

    def describe(self, path: Path) -> dict[str, Any]:
        """The room's own description."""
        describe: Function = getattr(importlib.import_module(self.room), self.describer)
        return describe(path)


KINDS = (
    Kind(
        name="dataset",
        title="dataset",
        traces=("*.beton",),
        room="beton_builder",
        verifier="verify_dataset",
        describer="dataset_info",
    ),
    Kind(
        name="expert-run",
        title="expert run",
        traces=("checkpoints",),
        room="engine",
        verifier="verify_run",
        describer="run_info",
    ),
    Kind(
        name="label-store",
        title="label store",
        traces=("zarr.json", "*/zarr.json"),
        room="labelstore",
        verifier="verify_store",
        describer="store_info",
    ),
    Kind(
        name="learned-labels",
        title="learned labels",
        traces=("steps", "labels.npz"),
        room="engine",
        verifier="verify_learned",
        describer="learned_info",
    ),
    Kind(
        name="sweep",
        title="sweep",
        traces=("sweep.json", "trials"),
        room="engine",
        verifier="verify_sweep",
        describer="sweep_info",
    ),
    Kind(
        name="distilled",
        title="distilled set",
        traces=("data/train*",),
        room="engine",
        verifier="verify_distilled",
        describer="distilled_info",
    ),
    Kind(
        name="evaluation",
        title="evaluation",
        traces=("evaluation.json", "students"),
        room="engine",
        verifier="verify_evaluation",
        describer="evaluation_info",
    ),
    Kind(
        name="report",
        title="report",
        traces=("index.html",),
        room="engine",
        verifier="verify_report",
        describer="report_info",
    ),
)


def recognise(path: Path) -> Kind:
    """The kind of the artefact at `path`.

    Raises `UnknownArtefactError`, which says what was looked for, when there is none.
    """
    if not path.exists():
        raise UnknownArtefactError(f"there is nothing at {path}; give the folder of an artefact.")
    if not path.is_dir():
        raise UnknownArtefactError(
            f"{path} is a file, and an artefact is a folder; perhaps {path.parent} is meant."
        )
    said = kind_of(path)
    for kind in KINDS:
        if kind.name == said:
            return kind
    for kind in KINDS:
        if any(next(path.glob(trace), None) for trace in kind.traces):
            return kind
    others = kinds_said(path)
    found = f"It says that it is of kind {others[0]!r}" if others else "It has none of them"
    raise UnknownArtefactError(
        f"{path} is no artefact of a kind known here "
        f"({', '.join(kind.title for kind in KINDS)}). Looked for: manifest.json with a known "
        f"`kind` (dataset, expert run, learned labels, distilled set, report), sweep.json (sweep), "
        f"evaluation.json (evaluation), zarr.json (label store). "
        f"{found}."
    )
