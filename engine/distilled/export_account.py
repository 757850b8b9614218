"""What an export says of itself: the command that makes it again, its plan, and its outcome."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engine.distilled.artefact import CARD
from engine.distilled.export_source import Source
from engine.sweep.planning.trial import Trial


def command_of(axes: Mapping[str, Any], file_format: str, trial: Trial) -> str:
    """The command that makes the set again, as a line to paste; paths are placeholders."""
    cell = trial.cell
    arguments = ["engine", "export", "--data", "DATA", "--labels", "STORE", "--out", "OUT"]
    arguments += ["--ipc", str(trial.ipc), "--expert-epoch", str(cell["expert_epoch"] or 0)]
    usual: dict[str, Any] = {
        "expert": None,
        "view": "plain",
        "codec": None,
        "selection": "random",
        "temperature": 1.0,
    }
    arguments += ["--format", file_format]
    for name, standard in usual.items():
        value = axes[name][0] if isinstance(axes[name], list) else axes[name]
        if value != standard:
            said = str(value).removesuffix(".0") if isinstance(value, float) else str(value)
            arguments += [f"--{name}", said]
    if axes["labels"] != ["soft"]:
        arguments += ["--transform", axes["labels"][0]]
    if axes["student.resolution"] is not None:
        arguments += ["--resolution", str(axes["student.resolution"])]
    return shlex.join([*arguments, "--subset-seed", str(trial.seeds.subset_seed)])


def versions_of_writers() -> dict[str, str]:
    """Of the packages that the bytes of the data files may depend on."""
    names = ("softlabel-engine", "numpy", "pillow", "pyarrow")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def describe_plan(manifest: Mapping[str, Any], out: Path, source: Source) -> dict[str, Any]:
    """What a dry run answers; ``pixel_bytes`` and ``label_bytes`` before compression."""
    trial = source.trial
    side = trial.student.resolution or 0
    pixels = trial.num_images * side * side * source.dataset.channels
    return {
        "plan": "export",
        "out": str(out),
        "id": manifest["id"],
        "format": manifest["format"],
        "dataset": source.dataset.name,
        **manifest["subset"],
        "labels": manifest["labels"],
        "pixel_bytes": pixels,
        "label_bytes": trial.num_images * source.dataset.num_classes * 4,
        "command": manifest["command"],
    }


def describe_export(
    status: str, out: Path, manifest: Mapping[str, Any], files: Mapping[str, str]
) -> dict[str, Any]:
    """What an export answers; ``files``: name → SHA-256 of those it has."""
    return {
        "status": status,
        "distilled": str(out),
        "id": manifest["id"],
        "format": manifest["format"],
        "num_images": manifest["subset"]["num_images"],
        "num_classes": len(manifest["dataset"]["classes"]),
        "expert_epoch": manifest["labels"]["expert_epoch"],
        "label_entropy": manifest["figures"]["label_entropy"],
        "files": sorted(files),
        "file_bytes": sum((out / name).stat().st_size for name in files if (out / name).exists()),
        "message": f"Read {out / CARD} for how it was made and how to load it.",
    }
