"""One finished (or failed) student run as an immutable record.

In: the JSON object of one trial. Out: a `Trial` whose *axes* are everything that defines its cell
besides IPC, kind of labels, expert epoch and seeds. Whatever key a sweep adds to `cell`, and every
setting of the resolved student, becomes an axis by itself, so trials that differ in something this
module has never heard of are never averaged together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEASURES: tuple[str, ...] = ("final", "selected", "max_on_test")
"""The three accuracies reported side by side, from the most honest to the papers' own."""

Value = str | int | float | bool | None
"""What an axis may hold; lists and nested objects are held as their canonical JSON."""

Seeds = tuple[tuple[str, int], ...]
"""A run's seeds, sorted by name: (("augment_seed", 0), …)."""

LABEL_VIEW_ID = "label_view_id"
"""The axis that tells labels of equally named experts apart."""

_NOT_AXES = frozenset({"ipc", "labels", "expert_epoch"})


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A student's run: where it belongs in the grid, and what was measured.

    `test` and `validation` hold accuracies as fractions 0..1 by measure (`MEASURES`; validation
    has no `max_on_test`), None where the dataset lacks the split. `test_per_class`: (k,) test
    accuracies of every class after the final epoch, None where they were not recorded.
    """

    id: str
    done: bool
    sweep: str
    ipc: int
    labels: str  # "soft" or "hard"
    expert_epoch: int | None
    axes: Mapping[str, Value]
    seeds: Seeds
    test: Mapping[str, float | None]
    validation: Mapping[str, float | None]
    error: str
    dataset: str
    checkpoints: tuple[str, ...]
    environment: Mapping[str, Value]
    seconds: float
    images_per_second: float | None
    test_per_class: tuple[float, ...] | None = None

    @property
    def subset_seed(self) -> int | None:
        """The seed that chose the images; runs that share it share their subset."""
        return dict(self.seeds).get("subset_seed")


def parse_trial(
    record: Mapping[str, Any], *, sweep: str = "", expert_names: Mapping[str, str] | None = None
) -> Trial:
    """Read one trial record (the JSON object of `trials/ID.json`).

    `sweep` is the name of the folder it lies in; `expert_names` replaces an expert's name by one
    that is unique among the sweeps of a report. Raises ValueError naming the key that is missing
    or wrong; the caller knows the file.
    """
    if record.get("kind") != "trial":
        raise ValueError(f'"kind" is {record.get("kind")!r}, expected "trial"')
    status = _need(record, "status", str)
    if status not in ("done", "failed"):
        raise ValueError(f'"status" is {status!r}, expected "done" or "failed"')
    done = status == "done"
    _need(record, "cell", dict)
    labels = _need(record, "cell.labels", str)
    if labels not in ("soft", "hard"):
        raise ValueError(f'"cell.labels" is {labels!r}, expected "soft" or "hard"')
    ipc = _need(record, "cell.ipc", int)
    if ipc < 1:
        raise ValueError(f'"cell.ipc" is {ipc}, expected at least 1')
    expert_epoch = _need(record, "cell.expert_epoch", int) if labels == "soft" else None
    seeds = _need(record, "seeds", dict)
    for name in seeds:
        _need(record, f"seeds.{name}", int)
    parents = _mapping(record, "parents")
    environment = _mapping(record, "environment")
    test, validation = _accuracies(record) if done else ({}, {})
    rate = record.get("images_per_second")
    return Trial(
        id=_need(record, "id", str),
        done=done,
        sweep=sweep,
        ipc=ipc,
        labels=labels,
        expert_epoch=expert_epoch,
        axes=axes_of(record, expert_names or {}),
        seeds=tuple(sorted(seeds.items())),
        test=test,
        validation=validation,
        error=str(record.get("error") or ""),
        dataset=str(parents.get("dataset") or ""),
        checkpoints=tuple(str(c) for c in parents.get("checkpoints") or ()),
        environment={k: _plain(v) for k, v in environment.items()},
        seconds=sum(v for v in _mapping(record, "seconds").values() if isinstance(v, int | float)),
        images_per_second=float(rate) if isinstance(rate, int | float) else None,
        test_per_class=_per_class(record) if done else None,
    )


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Nested settings as {"optimizer.lr": 0.01, …}; lists become their canonical JSON."""
    flat: dict[str, Value] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = _plain(value)
    return flat


def axes_of(record: Mapping[str, Any], expert_names: Mapping[str, str]) -> dict[str, Value]:
    """What defines a trial's cell besides IPC, kind of labels, expert epoch and seeds.

    `record` needs what a trial's record says before it runs; `expert_names` as in `parse_trial`.
    """
    cell, seeds = _mapping(record, "cell"), _mapping(record, "seeds")
    axes = flatten({k: v for k, v in cell.items() if k not in _NOT_AXES})
    axes["protocol"] = _plain(record.get("protocol"))
    # How the labels were stored and which view of which expert they are is said by the parents.
    for name, key in ("codec", "codec"), (LABEL_VIEW_ID, "view"):
        axes.setdefault(name, _plain(_mapping(record, "parents").get(key)))
    for name, value in flatten(_mapping(record, "student")).items():
        last = name.rpartition(".")[2]
        # Seeds tell runs of one cell apart; what the cell says already would split it twice.
        is_seed = last in seeds or last == "seed" or last.endswith("_seed")
        is_repeated = name in cell or (last in cell and _plain(cell[last]) == value)
        if is_seed or is_repeated:
            continue
        axes[f"student.{name}"] = value
    if axes.get("expert") is not None:
        axes["expert"] = expert_names.get(str(axes["expert"]), axes["expert"])
    return axes


def _accuracies(
    record: Mapping[str, Any],
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    test: dict[str, float | None] = {}
    validation: dict[str, float | None] = {}
    result = _need(record, "result", dict)
    for measure in MEASURES:
        if measure not in result:
            raise ValueError(f'"result.{measure}" is missing')
        # `null` where the split that the measure needs does not exist.
        at = result[measure] if result[measure] is not None else {"test": None, "validation": None}
        test[measure] = _fraction(at, f"result.{measure}", "test")
        if measure != "max_on_test":
            validation[measure] = _fraction(at, f"result.{measure}", "validation")
    return test, validation


def _per_class(record: Mapping[str, Any]) -> tuple[float, ...] | None:
    found = record["result"].get("test_per_class")
    if found is None:
        return None
    if not isinstance(found, list):
        raise ValueError(f'"result.test_per_class" is {found!r}, expected a list or null')
    # A class without a test image has no accuracy.
    return tuple(
        math.nan if value is None else float(value)
        for value in found
        if value is None or _fraction({"at": value}, "result.test_per_class", "at") is not None
    )


def _fraction(at: Any, path: str, key: str) -> float | None:
    if not isinstance(at, Mapping) or key not in at:
        raise ValueError(f'"{path}.{key}" is missing')
    value = at[key]
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 <= value <= 1:
        raise ValueError(f'"{path}.{key}" is {value!r}, expected a fraction from 0 to 1 or null')
    return float(value)


def _need(record: Mapping[str, Any], path: str, kind: type) -> Any:
    """The value at a dotted path, of the type asked for; ValueError says which key is wrong."""
    at: Any = record
    for key in path.split("."):
        if not isinstance(at, Mapping) or key not in at:
            raise ValueError(f'"{path}" is missing')
        at = at[key]
    if not isinstance(at, kind) or (kind is int and isinstance(at, bool)):
        raise ValueError(f'"{path}" is {at!r}, expected {kind.__name__}')
    return at


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = record.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f'"{key}" is {value!r}, expected an object')
    return value


def _plain(value: Any) -> Value:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return json.dumps(value, sort_keys=True)
