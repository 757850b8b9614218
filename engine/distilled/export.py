"""`export_distilled`: random real images with an expert's labels, as a folder for others to use.

    dataset + label store → the subset and labels that a sweep's student would get
                          → data files, a card, a manifest with the SHA-256 of each

The subset and the labels come from the sweep's own planner and runner, so a student trained on the
export is the student that a sweep trains. Equal arguments and versions give equal bytes.
"""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import beton_builder
import labelstore
from engine.distilled.artefact import (
    CARD,
    KIND,
    MANIFEST,
    check_destination,
    is_export,
    read_manifest,
    replacing,
    require_whole,
)
from engine.distilled.card import write_card
from engine.distilled.export_source import Chooser, Source
from engine.distilled.shard_writers import FORMATS, Rows, data_files
from engine.errors import DamageError, MismatchError, UsageError
from engine.records import content_id, write_bytes, write_record
from engine.sweep.planning.grid import load_grids
from engine.sweep.planning.plan import plan_trials
from engine.sweep.planning.trial import Trial
from engine.training.precision import choose_arithmetic
from engine.training.progress import Progress, no_progress
from engine.training.student import Subset


def export_distilled(
    data: str | Path,
    labels: str | Path,
    out: str | Path,
    *,
    ipc: int,
    expert_epoch: int | str,
    format: str = "parquet",
    expert: str | None = None,
    view: str = "plain",
    codec: str | None = None,
    selection: str = "random",
    subset_seed: int = 0,
    temperature: float = 1.0,
    transform: str = "soft",
    resolution: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a distilled set: images by a selection, soft labels of one expert epoch, class numbers.

    Args:
        data, labels: the dataset, and a label store of it.
        out: folder of the set, which must be new or an earlier export.
        ipc: images per class.
        expert_epoch: whose labels; ``best`` for the one with the greatest test accuracy.
        format: ``parquet``, ``webdataset`` (both with the stored JPEG bytes, or PNGs of raw pixels)
            or ``npz`` (pixels as students see them).
        expert, view, codec: which labels of the store, where it has several.
        selection, subset_seed: which images; as of a sweep, validation images never.
        temperature: softens the labels; transform: what becomes of them then (`soft`: nothing).
        resolution: side of the images that labels and npz are for; by default as of the labels.
        force: replace an export that was made otherwise.
        dry_run: return the plan and write nothing.

    Raises:
        UsageError, ConfigurationError: arguments that can't work.
        MismatchError: another export lies at ``out``.
        labelstore.LabelStoreError: the store is of another dataset, or lacks the labels.
    """
    if format not in FORMATS:
        raise UsageError(f"format {format!r}: expected one of {', '.join(FORMATS)}")
    out = Path(out)
    check_destination(out)
    dataset = beton_builder.open_dataset(data)
    store = labelstore.open_store(labels, dataset_id=dataset.id, classes=dataset.classes)
    axes = {
        "ipc": [ipc],
        "expert_epochs": [expert_epoch],
        "labels": [transform],
        "temperature": [temperature],
        "selection": [selection],
        "expert": expert,
        "view": view,
        "codec": codec,
        "seeds": [subset_seed],
        "student.resolution": resolution,
    }
    trial = _only_one(plan_trials(load_grids(None, axes), dataset, store), store)
    source = Source(dataset=dataset, store=store, trial=trial)
    identity = source.identity(format)
    manifest = {
        **identity,
        "kind": KIND,
        "id": content_id(identity),
        "command": _command(axes, format, trial),
        "versions": _versions(),
    }
    if dry_run:
        return _plan(manifest, out, source)
    if is_export(out) and not force and _is_there(out, manifest):
        there = read_manifest(out)
        return _summary("finished already", out, there, there["files"])
    tell = progress or no_progress
    subset = Chooser(dataset, store, choose_arithmetic("fp32", compiled=False)).choose(trial)
    with replacing(out) as folder:
        manifest = {**manifest, **source.figures(subset)}
        files = _write_data(folder, source, subset, format, tell)
        card = write_card(manifest, sorted(files)).encode()
        write_bytes(folder / CARD, card)
        files[CARD] = sha256(card).hexdigest()
        write_record(folder / MANIFEST, {**manifest, "files": files})
    return _summary("exported", out, manifest, files)


def _only_one(trials: Sequence[Trial], store: labelstore.LabelStore) -> Trial:
    """The trial whose images and labels are meant; raises UsageError for several."""
    if len(trials) == 1:
        return trials[0]
    experts = ", ".join(sorted({expert for expert, _ in store.views()}))
    raise UsageError(
        f"an export is one set, and these options describe {len(trials)}: name one expert of "
        f"{store.path}, which has {experts}, such as --expert NAME"
    )


def _write_data(
    folder: Path, source: Source, subset: Subset, file_format: str, tell: Progress
) -> dict[str, str]:
    """Write every data file; returns their checksums."""
    with source.dataset.split("train") as train:
        rows = Rows(
            beton=train,
            ids=subset.ids,
            labels=source.classes_of(subset),
            targets_nk=subset.targets_nk.numpy(),
            channels=source.dataset.channels,
        )
        pixels = None
        if file_format == "npz":
            images = subset.images_nchw.permute(0, 2, 3, 1)
            pixels = np.ascontiguousarray(images.cpu().numpy())
        files: dict[str, str] = {}
        done = 0
        for name, content, count in data_files(rows, file_format, source.dataset.classes, pixels):
            write_bytes(folder / name, content)
            files[name] = sha256(content).hexdigest()
            done += count
            tell("export", done, len(rows))
    return files


def _is_there(out: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether that very set lies at ``out``; a damaged one doesn't count.

    Raises:
        MismatchError: another one does.
    """
    try:
        there = read_manifest(out)
        if there["id"] == manifest["id"]:
            require_whole(out)
            return True
    except DamageError:
        return False
    differing = [
        f"{part} {key}: {there[part].get(key)} → {value}"
        for part in ("subset", "labels")
        for key, value in manifest[part].items()
        if there[part].get(key) != value
    ]
    if there["format"] != manifest["format"]:
        differing.append(f"format: {there['format']} → {manifest['format']}")
    raise MismatchError(
        f"{out} holds distilled set {there['id']}, but these options describe {manifest['id']} "
        f"({', '.join(differing) or 'made from other data'}). Choose another --out, or --force to "
        "replace it."
    )


def _command(axes: Mapping[str, Any], file_format: str, trial: Trial) -> str:
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


def _versions() -> dict[str, str]:
    names = ("softlabel-engine", "numpy", "pillow", "pyarrow")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _plan(manifest: Mapping[str, Any], out: Path, source: Source) -> dict[str, Any]:
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


def _summary(
    status: str, out: Path, manifest: Mapping[str, Any], files: Mapping[str, str]
) -> dict[str, Any]:
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
