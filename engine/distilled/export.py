"""`export_distilled`: random real images with an expert's labels, as a folder for others to use.

    dataset + label store → the subset and labels that a sweep's student would get
                          → data files, a card, a manifest with the SHA-256 of each

The subset and the labels come from the sweep's own planner and runner, so a student trained on the
export is the student that a sweep trains. Equal arguments and versions give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import beton_builder
import labelstore
from engine.destination import check_destination, check_replaceable, replacing
from engine.distilled.artefact import (
    CARD,
    KIND,
    MANIFEST,
    is_export,
    read_manifest,
    require_whole,
)
from engine.distilled.card import write_card
from engine.distilled.export_account import (
    command_of,
    describe_export,
    describe_plan,
    versions_of_writers,
)
from engine.distilled.export_source import Source
from engine.distilled.shard_writers import FORMATS, Rows, data_files
from engine.errors import DamageError, MismatchError, UsageError
from engine.records import content_id, write_bytes, write_record
from engine.sweep.executors.trial_runner import TrialRunner
from engine.sweep.planning.grid import load_grids
from engine.sweep.planning.plan import plan_trials
from engine.sweep.planning.trial import Trial
from engine.training.precision import choose_arithmetic
from engine.training.progress import Progress, no_progress


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
        expert_epoch: whose labels; ``best`` or ``best-on-test``, as of a sweep's grid.
        format: ``parquet``, ``webdataset`` (both with the stored JPEG bytes, or PNGs of raw pixels)
            or ``npz`` (pixels as students see them).
        expert, view, codec: which labels of the store, where it has several.
        selection, subset_seed: which images; as of a sweep, validation images never.
        temperature: softens the labels; transform: what becomes of them then (`soft`: nothing).
        resolution: side of the images that labels and npz are for; by default as of the labels.
        force: replace an export that was made otherwise.
        dry_run: return the plan and write nothing.

    Raises:
        UsageError, ConfigurationError: arguments that can't work, or an export that would be
            replaced has other files in it.
        MismatchError: another export lies at ``out``.
        labelstore.LabelStoreError: the store is of another dataset, or lacks the labels.
    """
    if format not in FORMATS:
        raise UsageError(f"format {format!r}: expected one of {', '.join(FORMATS)}")
    out = Path(out)
    check_destination(out, KIND, replaced=True)
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
        "command": command_of(axes, format, trial),
        "versions": versions_of_writers(),
    }
    if dry_run:
        return describe_plan(manifest, out, source)
    if is_export(out) and not force and _is_there(out, manifest):
        there = read_manifest(out)
        return describe_export("finished already", out, there, there["files"])
    check_replaceable(out)
    tell = progress or no_progress
    runner = TrialRunner(dataset, store, choose_arithmetic("fp32", compiled=False))
    ids = runner.ids_of(trial)
    targets_nk = runner.targets_of(trial, ids)
    with replacing(out) as folder:
        manifest = {**manifest, **source.figures(ids, targets_nk)}
        files = _write_data(folder, source, ids, targets_nk, format, tell)
        card = write_card(manifest, sorted(files)).encode()
        write_bytes(folder / CARD, card)
        files[CARD] = sha256(card).hexdigest()
        write_record(folder / MANIFEST, {**manifest, "files": files})
    return describe_export("exported", out, manifest, files)


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
    folder: Path,
    source: Source,
    ids: npt.NDArray[np.int64],
    targets_nk: npt.NDArray[np.float32],
    file_format: str,
    tell: Progress,
) -> dict[str, str]:
    """Write every data file; returns their checksums."""
    with source.dataset.split("train") as train:
        rows = Rows(
            beton=train,
            ids=ids,
            labels=source.classes_of(ids),
            targets_nk=targets_nk,
            channels=source.dataset.channels,
        )
        # The other formats have the stored bytes, of one shard at a time.
        pixels = source.pixels_of(ids) if file_format == "npz" else None
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
