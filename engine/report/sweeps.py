"""Sweep folders read into one set of results.

In: folders with `sweep.json` and `trials/ID[:2]/ID.json`. Out: the dataset, the experts and every
trial once. Trials of several sweeps are joined by id; sweeps of different datasets are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.analysis.asked import AskedCell, read_asked
from engine.analysis.plan import parse_plan
from engine.analysis.trials import Trial, parse_trial
from engine.errors import ArtefactError, MismatchError, UsageError
from engine.records import read_record
from engine.sweep.ledger import Ledger, chose_epochs_on_test
from engine.sweep.planning.epochs import BEST_ON_TEST

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class ExpertEpoch:
    """One checkpoint of one expert; None where the number was not measured.

    Accuracies are fractions 0..1, the mean label entropy is in nats.
    """

    expert: str
    run_id: str
    epoch: int
    test: float | None
    train: float | None
    label_entropy: float | None


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that a report is made from."""

    dataset_id: str
    dataset_name: str
    num_classes: int | None
    sweeps: tuple[str, ...]  # names of the folders, in the order given
    experts: tuple[ExpertEpoch, ...]
    trials: tuple[Trial, ...]
    asked: tuple[AskedCell, ...]  # what the sweeps were last asked for
    notes: tuple[str, ...]  # what a reader of the report must know about the joining
    classes: tuple[str, ...] = ()
    num_validation: int | None = None  # images held out of the students' subsets
    held_out: bool | None = None  # also of every expert's training; None where not recorded
    places: tuple[tuple[str, str], ...] = ()  # dataset and label store of each sweep that has both


def read_sweeps(sweeps: Sequence[str | Path], *, progress: Progress | None = None) -> Results:
    """Read and join sweep folders.

    Raises:
        UsageError: no folder was named.
        ArtefactError: no sweep lies there, it has no trial yet, or a file lacks a key (both named).
        DamageError: a file's content does not match its checksum.
        MismatchError: the sweeps, or a sweep and a trial of it, are of different datasets.
    """
    if isinstance(sweeps, str | Path):
        sweeps = [sweeps]
    folders = list(dict.fromkeys(Path(sweep).resolve() for sweep in sweeps))
    if not folders:
        raise UsageError(
            "expected at least one sweep folder, found none\nengine report SWEEP --out REPORT"
        )
    heads = [_read_head(folder) for folder in folders]
    dataset = _one_dataset(folders, heads)
    names = _unique_names(heads)

    asked = [_asked(head, shown) for head, shown in zip(heads, names, strict=True)]
    files = [(i, file) for i, folder in enumerate(folders) for file in _trial_files(folder)]
    trials: dict[str, Trial] = {}
    notes: list[str] = []
    for number, (i, file) in enumerate(files):
        trial = _read_trial(file, folders[i].name, names[i])
        if trial.dataset and trial.dataset != dataset["id"]:
            raise MismatchError(
                f"expected trials of dataset {dataset['id']} as in {folders[i] / 'sweep.json'}, "
                f"found dataset {trial.dataset} in {file}"
            )
        known = trials.get(trial.id)
        if known is None or (trial.done and not known.done):
            trials[trial.id] = trial
        elif trial.done and (trial.test, trial.validation) != (known.test, known.validation):
            notes.append(
                f"Trial {trial.id} has different results in {known.sweep} and {trial.sweep}; "
                f"that of {known.sweep} counts."
            )
        if progress is not None:
            progress("read trials", number + 1, len(files))
    if not trials:
        raise ArtefactError(
            f"expected finished trials under {folders[0] / 'trials'}, found none\n"
            f"run the sweep first: engine sweep-students … --out {folders[0]}"
        )
    for i, head in enumerate(heads):
        if "asked" not in head:
            own = [trials[file.stem] for number, file in files if number == i]
            asked[i] = _asked_of_old(head, own)
            if not asked[i]:
                notes.append(
                    f"The sweep “{folders[i].name}” does not say which cells it was asked for, so "
                    "what is missing from it is not known; running its command again records them."
                )
    notes += [
        f"A plan of the sweep “{folder.name}” chose expert epochs on test images ({BEST_ON_TEST}), "
        "so accuracies on test images are optimistic."
        for folder, head in zip(folders, heads, strict=True)
        if chose_epochs_on_test(head)
    ]
    return Results(
        dataset_id=str(dataset["id"]),
        dataset_name=str(dataset.get("name") or dataset["id"]),
        num_classes=dataset.get("num_classes"),
        sweeps=tuple(folder.name for folder in folders),
        experts=_experts(heads, names),
        trials=tuple(trials.values()),
        asked=tuple(cell for cells in asked for cell in cells),
        notes=tuple(notes),
        classes=tuple(str(name) for name in dataset.get("classes") or ()),
        num_validation=next((n for h in heads if (n := h["dataset"].get("num_validation"))), None),
        held_out=_held_out(heads),
        places=tuple(dict.fromkeys(place for head in heads for place in _places(head))),
    )


def _held_out(heads: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether no expert was trained on validation images."""
    noted = [expert.get("held_out") for head in heads for expert in head.get("experts") or []]
    if any(each is False for each in noted):
        return False
    return True if noted and all(each is True for each in noted) else None


def _places(head: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = head.get("sources") or {}
    data, labels = found.get("data"), found.get("labels")
    return [(str(data), str(labels))] if data and labels else []


def _read_head(folder: Path) -> dict[str, Any]:
    file = folder / "sweep.json"
    if not file.is_file():
        raise ArtefactError(
            f"expected a sweep (a folder with sweep.json), found none at {folder}\n"
            f"make one: engine sweep-students --data DATA --labels STORE --out {folder}"
        )
    head = Ledger(folder).head()
    try:
        if not isinstance(head.get("dataset"), dict) or not head["dataset"].get("id"):
            raise ValueError('"dataset.id" is missing')
        for expert in head.get("experts") or []:
            _expert_epochs(expert, "")
        _asked(head, {})
        _asked_of_old(head, [])
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ArtefactError(
            f"{file}: {error}\nwrite it anew by running the sweep again: engine sweep-students … "
            f"--out {folder}"
        ) from error
    return head


def _asked(head: Mapping[str, Any], expert_names: Mapping[str, str]) -> list[AskedCell]:
    return read_asked(head["asked"], expert_names=expert_names) if "asked" in head else []


def _asked_of_old(head: Mapping[str, Any], trials: Sequence[Trial]) -> list[AskedCell]:
    """The cells of a sweep that recorded its plan alone, as far as they can be known."""
    experts = head.get("experts") or []
    epochs = {row.epoch for expert in experts for row in _expert_epochs(expert, "")}
    plan = parse_plan(head.get("plan") or {}, sorted(epochs))
    return [] if plan is None else plan.asked_cells(trials)


def _read_trial(file: Path, sweep: str, expert_names: Mapping[str, str]) -> Trial:
    try:
        trial = parse_trial(read_record(file), sweep=sweep, expert_names=expert_names)
        if trial.id != file.stem:
            raise ValueError(f'"id" is {trial.id!r}, but the file is named {file.name}')
    except ValueError as error:
        raise ArtefactError(
            f"{file}: {error}\n"
            "delete the file and run the sweep again: it recomputes this trial only"
        ) from error
    return trial


def _trial_files(folder: Path) -> list[Path]:
    # Names beginning with a dot are files that a running sweep is still writing.
    found = (folder / "trials").glob("*/*.json")
    return sorted(file for file in found if not file.name.startswith("."))


def _one_dataset(folders: Sequence[Path], heads: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = heads[0]["dataset"]
    for folder, head in zip(folders, heads, strict=True):
        if head["dataset"]["id"] != first["id"]:
            raise MismatchError(
                f"expected sweeps of one dataset, found {first['id']} ({first.get('name')}) in "
                f"{folders[0]} and {head['dataset']['id']} ({head['dataset'].get('name')}) in "
                f"{folder}\nwrite one report per dataset"
            )
    return dict(first)


def _unique_names(heads: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Per sweep, expert name → the name to show: with its run id where two runs share a name."""
    runs: dict[str, set[str]] = {}
    for head in heads:
        for expert in head.get("experts") or []:
            runs.setdefault(expert["name"], set()).add(str(expert.get("run_id") or ""))
    return [
        {
            expert["name"]: expert["name"]
            if len(runs[expert["name"]]) == 1
            else f"{expert['name']} (run {str(expert.get('run_id') or 'unknown')[:8]})"
            for expert in head.get("experts") or []
        }
        for head in heads
    ]


def _experts(
    heads: Sequence[Mapping[str, Any]], names: Sequence[Mapping[str, str]]
) -> tuple[ExpertEpoch, ...]:
    found: dict[tuple[str, int], ExpertEpoch] = {}
    for head, shown in zip(heads, names, strict=True):
        for expert in head.get("experts") or []:
            for row in _expert_epochs(expert, shown[expert["name"]]):
                known = found.setdefault((row.expert, row.epoch), row)
                # A later sweep may have measured what an earlier one had not.
                found[row.expert, row.epoch] = replace(
                    known,
                    test=known.test if known.test is not None else row.test,
                    train=known.train if known.train is not None else row.train,
                    label_entropy=known.label_entropy
                    if known.label_entropy is not None
                    else row.label_entropy,
                )
    return tuple(found[key] for key in sorted(found))


def _expert_epochs(expert: Mapping[str, Any], shown: str) -> list[ExpertEpoch]:
    if not isinstance(expert.get("name"), str):
        raise ValueError('"experts[].name" is missing')
    epochs = expert.get("epochs") or {}
    return [
        ExpertEpoch(
            expert=shown,
            run_id=str(expert.get("run_id") or ""),
            epoch=int(epoch),
            test=_number(numbers, "test"),
            train=_number(numbers, "train"),
            label_entropy=_number(numbers, "label_entropy"),
        )
        for epoch, numbers in epochs.items()
    ]


def _number(numbers: Mapping[str, Any], key: str) -> float | None:
    value = numbers.get(key)
    return None if value is None else float(value)
