"""Where a trial's number comes from.

In: a trial's record, named by its sweep and a prefix of its id, or by its file. Out: everything
that decided its result, down to the sample ids, and the command that brings it about again.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import beton_builder
import labelstore
from engine.errors import ArtefactError, DamageError, EngineError, MismatchError, UsageError
from engine.records import read_record
from engine.sweep.ledger import HEAD, Ledger

MOST_CANDIDATES = 8


def find_trial(sweep: str | Path | None, trial: str | Path | None = None) -> tuple[Path, dict]:
    """A trial's file and record.

    Args:
        sweep: folder of the sweep, or the file of the trial itself.
        trial: id, or the beginning of one that no other trial shares; or the trial's file.

    Raises:
        UsageError: no trial begins like that (the nearest is named), or several do (all listed).
        ArtefactError: there is no sweep, or the file is no trial's. DamageError: it is damaged.
    """
    for named in (trial, sweep):
        if named is not None and Path(named).is_file():
            return Path(named), _read_trial(Path(named))
    if sweep is None:
        raise ArtefactError(f"{trial} is no file of a trial; name its sweep before it")
    ledger = Ledger(sweep)
    ledger.head()
    if trial is None:
        raise UsageError(f"{sweep} is a sweep; say which trial: an id or its beginning")
    ids = sorted(file.stem for file in ledger.path.glob("trials/*/*.json"))
    matching = [each for each in ids if each.startswith(str(trial))]
    if len(matching) == 1:
        file = ledger.trial_path(matching[0])
        return file, _read_trial(file)
    raise UsageError(_not_one(ledger, str(trial), matching or ids, bool(matching)))


def _not_one(ledger: Ledger, prefix: str, ids: list[str], ambiguous: bool) -> str:
    if ambiguous:
        listed = [f"  {each}  {_in_short(ledger, each)}" for each in ids[:MOST_CANDIDATES]]
        more = len(ids) - MOST_CANDIDATES
        return "\n".join(
            [
                f"{len(ids)} trials of {ledger.path} begin with {prefix!r}; type more of one:",
                *listed,
                *([f"  … and {more:,} more"] if more > 0 else []),
            ]
        )
    near = difflib.get_close_matches(prefix, ids, n=1, cutoff=0.0)
    hint = f"the nearest is {near[0]}" if near else "it has none yet"
    return (
        f"no trial of {ledger.path} begins with {prefix!r}; {hint}. "
        f'All ids: `engine results {ledger.path} --sql "select id from trials"`'
    )


def _in_short(ledger: Ledger, trial: str) -> str:
    try:
        record = _read_trial(ledger.trial_path(trial))
    except ArtefactError:
        return "damaged"
    said = {**record.get("cell", {}), "seeds": sorted(set(record.get("seeds", {}).values()))}
    return ", ".join(f"{key} {value}" for key, value in said.items() if value is not None)


def _read_trial(file: Path) -> dict[str, Any]:
    try:
        record = read_record(file)
    except DamageError as error:
        raise DamageError(
            f"{file} is damaged: its content does not match its checksum. Run the sweep again "
            "(`engine sweep-students` with its --out), which trains a damaged trial anew"
        ) from error
    if record.get("kind") != "trial":
        raise ArtefactError(f"{file} holds a {record.get('kind')}, expected a trial")
    return record


def explain_trial(
    sweep: str | Path,
    trial: str | None = None,
    *,
    data: str | Path | None = None,
    labels: str | Path | None = None,
) -> dict[str, Any]:
    """Everything that decided a trial's result, and the command that runs it again.

    Args:
        sweep: folder of the sweep, or the file of the trial itself.
        trial: id, or a beginning of it that no other trial shares.
        data: the dataset, to say which samples the student saw; by default where the sweep says.
        labels: the label store, for the command, and for sample ids that an expert had a say in;
            by default where the sweep says.

    Returns:
        ``trial``, ``status``, ``record`` (its file), ``command``, ``cell``, ``seeds``, ``student``,
        ``subset`` (size and, with the dataset, ``sample_ids``), ``experts`` (a row a checkpoint),
        ``scorers`` (likewise, of those whose scores the images were chosen by), ``parents``,
        ``environment``, ``result`` without its curve, ``seconds`` and, under ``notes``, what
        could not be said. The command is None for a trial of another version.

    Raises:
        As :func:`find_trial`; MismatchError for a dataset that isn't the trial's.
    """
    file, record = find_trial(sweep, trial)
    head, folder = _head_of(file)
    sources = head.get("sources") or {}
    notes: list[str] = []
    data_at, labels_at = data or sources.get("data"), labels or sources.get("labels")
    subset = _subset(record, data_at, labels_at, given=data is not None, notes=notes)
    command = _command(record, data_at, labels_at, folder, notes)
    lines = str(record.get("error") or "").strip().splitlines()
    return {
        "trial": record["id"],
        "status": record["status"],
        **({"error": lines[-1], "traceback": record["error"]} if lines else {}),
        "record": str(file),
        "protocol": record.get("protocol"),
        "images_per_second": record.get("images_per_second"),
        "cell": record["cell"],
        "seeds": record["seeds"],
        "student": record["student"],
        "subset": subset,
        "experts": _experts(record, head, "teacher"),
        "scorers": _experts(record, head, "scorer"),
        "parents": record.get("parents") or {},
        "environment": record.get("environment") or {},
        "result": {k: v for k, v in (record.get("result") or {}).items() if k != "evaluations"},
        "seconds": record.get("seconds") or {},
        "notes": notes,
        "command": command,
    }


def _head_of(file: Path) -> tuple[dict[str, Any], Path]:
    """The head of the sweep that a trial's file lies in, and its folder; {} for a file alone."""
    folder = file.resolve().parents[2] if len(file.resolve().parents) > 2 else file.parent
    if not (folder / HEAD).is_file():
        return {}, Path("sweep")
    return Ledger(folder).head(), folder


def _new_folder(sweep: Path, trial: str) -> Path:
    """A folder beside the sweep where nothing lies yet."""
    first = sweep.with_name(f"{sweep.name}-{trial[:8]}")
    names = [first, *(first.with_name(f"{first.name}-{number}") for number in range(2, 1000))]
    return next(each for each in names if not each.exists())


def _subset(
    record: Mapping[str, Any],
    data: str | Path | None,
    labels: str | Path | None,
    *,
    given: bool,
    notes: list[str],
) -> dict[str, Any]:
    """How many samples the student saw and, where the dataset is there, which."""
    if data is None:
        notes.append("Sample ids: say where the dataset lies, with --data DATA.")
        return {}
    try:
        dataset = beton_builder.open_dataset(data)
    except beton_builder.BetonError as error:
        if given:
            raise
        notes.append(f"Sample ids: say where the dataset lies now, with --data DATA ({error})")
        return {}
    expected = (record.get("parents") or {}).get("dataset")
    if dataset.id != expected:
        raise MismatchError(
            f"trial {record['id']} is of dataset {expected}, and {data} holds {dataset.id} "
            f"({dataset.name}); name its own with --data"
        )
    about = {"dataset": dataset.name, "path": str(data)}
    try:
        ids = _sample_ids(dataset, labels, record)
    except (EngineError, labelstore.LabelStoreError) as error:
        notes.append(f"Sample ids: say where the label store lies, with --labels STORE ({error})")
        return about
    return {**about, "samples": len(ids), "sample_ids": ids}


def _sample_ids(
    dataset: beton_builder.Dataset, store: str | Path | None, record: Mapping[str, Any]
) -> list[int]:
    from engine.experiments import Pool, parse_selection
    from engine.sweep.executors.teacher_labels import TeacherLabels, scored_pool
    from engine.sweep.planning.plan import sample_pool
    from engine.sweep.planning.teachers import recorded_teacher

    select = parse_selection(record["cell"].get("selection", "random"))
    labels, candidates = sample_pool(dataset)
    pool = Pool(labels=labels, candidates=candidates, classes=dataset.classes)
    if select.needs is not None:
        scorer = recorded_teacher(record["scorer"], record["parents"]["scorer"])
        opened = None if store is None else labelstore.open_store(store, dataset_id=dataset.id)
        pool = scored_pool(pool, select, TeacherLabels(opened, scorer))
    ids = select(pool, record["cell"]["ipc"], record["seeds"]["subset_seed"])
    return [int(each) for each in ids]


def _experts(record: Mapping[str, Any], head: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    """What is known of each checkpoint of a ``teacher`` or ``scorer``; nothing if there is none."""
    named, parents = record.get(part) or {}, record.get("parents") or {}
    members = list(itertools.product(named.get("experts", ()), named.get("epochs", ())))
    checkpoints = (parents if part == "teacher" else parents.get(part, {})).get("checkpoints", ())
    rows = []
    for (name, epoch), checkpoint in zip(members, checkpoints, strict=False):
        runs = [each for each in head.get("experts", ()) if each.get("name") == name]
        run = runs[0] if len(runs) == 1 else {}  # two runs of one name can't be told apart here
        about = run.get("epochs", {}).get(str(epoch), {})
        rows.append(
            {
                "expert": name,
                "run_id": run.get("run_id"),
                "epoch": epoch,
                "checkpoint": checkpoint,
                "test_accuracy": about.get("test"),
                "train_accuracy": about.get("train"),
                "label_entropy": about.get("label_entropy"),
            }
        )
    return rows


def _command(
    record: Mapping[str, Any],
    data: str | Path | None,
    labels: str | Path | None,
    sweep: Path,
    notes: list[str],
) -> str | None:
    """The line that runs the trial again; what it still needs is added to the notes."""
    from engine.sweep.answers.rerun import rerun_arguments, shell_command

    out = _new_folder(sweep, str(record["id"]))
    try:
        arguments = rerun_arguments(record, data=data or "DATA", labels=labels or "STORE", out=out)
    except UsageError as error:
        notes.append(f"No command runs it again: {error}.")
        return None
    for path, placeholder in ((data, "DATA"), (labels, "STORE")):
        if path is None and placeholder in arguments:
            notes.append(f"Put a path for {placeholder} into the command; the sweep says none.")
    variables, options, differing = _surroundings(record)
    if differing:
        notes.append(f"For the same bytes it must also be: {', '.join(differing)}.")
    return " ".join([*variables, shell_command([*arguments, *options])])


def _surroundings(record: Mapping[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """Variables and options with which the trial computes as it did; what none can change."""
    import torch

    from engine.training.precision import Arithmetic, can_compile, torch_threads

    then = record.get("environment") or {}
    precision, reason = str(then.get("precision")), str(then.get("reason"))
    now = Arithmetic(
        device="cuda" if torch.cuda.is_available() else "cpu",
        precision=precision,
        compiled=can_compile(),
        threads=torch_threads(),
        reason=reason,
    ).describe()
    if "engine" not in then:  # those records counted the cores of a worker, not the machine's
        then, now = _without_cores(then), _without_cores(now)
    differing = {key for key in now if key in then and then[key] != now[key]}
    variables, options = [], []
    if "threads" in differing:
        options = ["--threads", str(then["threads"])]
    if "compiled" in differing and not then["compiled"]:
        variables = ["ENGINE_EAGER=1"]
        differing.remove("compiled")
    left = [f"{key} {then[key]} (here {now[key]})" for key in sorted(differing - {"threads"})]
    if then and record["student"].get("precision") == "auto":
        left.append(f"precision {precision} (auto measures which anew)")
    return variables, options, left


def _without_cores(environment: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: re.sub(r", \d+ cores$", "", value) if key == "machine" else value
        for key, value in environment.items()
    }
