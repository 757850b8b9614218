"""Which trials a sweep was asked for, in few bytes: `sweep.json` records them beside the plan.

In: what identifies the trials of a plan. Out: blocks, each a product of values, so that a grid of
any number of trials is one block and a grid with lists of its own for some IPC is a block more for
each. Back come the cells, so that a report can tell what is missing from what nobody asked for.

    {"all": {"cell.labels": ["soft"], "student.lr": [0.01], "seeds": [{"init_seed": 0, …}], …},
     "blocks": [{"cell.ipc": [1], "cell.expert_epoch": [4, 7]},
                {"cell.ipc": [10], "cell.expert_epoch": [24, 41]}]}

``all`` holds what every block has in common. 20,000 trials of 50 IPCs, 40 expert epochs and 10
seeds take 1.5 kB.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from engine.analysis.trials import Seeds, Value, axes_of, flatten

SEEDS = "seeds"
_OWN = ("cell.ipc", "cell.labels", "cell.expert_epoch", SEEDS)
"""Columns that place a trial within its panel; all others are settings."""

_OF_PARENTS = ("codec", "view")
"""What of a trial's parents makes an axis; its checkpoints follow from the others."""

Column = tuple[Any, ...]  # the distinct values of one column of a block, in order
Block = dict[str, Column]


@dataclass(frozen=True, kw_only=True)
class AskedCell:
    """A cell that was asked for: its place, as a `Trial` has it, and the seeds it should run."""

    ipc: int
    labels: str  # "soft" or "hard"
    expert_epoch: int | None
    axes: Mapping[str, Value]
    seeds: tuple[Seeds, ...]


def record_asked(
    cells: Iterable[tuple[Mapping[str, Any], Sequence[Mapping[str, int]]]],
) -> dict[str, Any]:
    """What `sweep.json` says under ``asked``; :func:`read_asked` reads it.

    Args:
        cells: pairs of what identifies a trial (its ``cell``, ``student``, ``parents`` and
            ``protocol``, as in its record) and the seeds with which it should run.
    """
    flat = _Flattened()
    settings, seeds = [], []
    for identity, of_cell in cells:
        settings.append(flat.settings(identity))
        seeds.append(tuple(sorted({_sorted_seeds(one) for one in of_cell})))
    first = settings[0] if settings else {}
    names = dict.fromkeys(name for row in settings for name in row)
    varying = {name for row in settings for name in names if row.get(name) != first.get(name)}
    # Seeds first, then what varies most: every later pass has fewer rows to compare.
    ordered = dict.fromkeys(["cell.expert_epoch", "cell.ipc", *names])
    columns = [name for name in ordered if name in varying]
    blocks: list[Block] = [
        {SEEDS: own, **{name: (row.get(name),) for name in columns}}
        for row, own in zip(settings, seeds, strict=True)
    ]
    for name in (SEEDS, *columns):
        blocks = _merged(blocks, name)
    shared: Block = {name: (first.get(name),) for name in names if name not in varying}
    for name in (SEEDS, *columns):
        if blocks and all(block[name] == blocks[0][name] for block in blocks):
            shared[name] = blocks[0][name]
    return {
        "all": {name: _plain(name, column) for name, column in shared.items()},
        "blocks": [
            {name: _plain(name, column) for name, column in block.items() if name not in shared}
            for block in blocks
        ],
    }


def read_asked(
    recorded: Mapping[str, Any], *, expert_names: Mapping[str, str] | None = None
) -> list[AskedCell]:
    """The cells of what :func:`record_asked` made; ``expert_names`` as in `parse_trial`.

    Raises ValueError, TypeError, KeyError or AttributeError for what it can't have made.
    """
    cells = []
    for own in recorded["blocks"]:
        block = {**recorded["all"], **own}
        seeds = tuple(_sorted_seeds(one) for one in block[SEEDS])
        settings = {name: values for name, values in block.items() if name not in _OWN}
        for chosen in product(*settings.values()):
            axes = _axes(dict(zip(settings, chosen, strict=True)), expert_names or {})
            for ipc, labels, epoch in product(*(block[name] for name in _OWN[:3])):
                cells.append(
                    AskedCell(
                        ipc=int(ipc),
                        labels=str(labels),
                        expert_epoch=None if epoch is None else int(epoch),
                        axes=axes,
                        seeds=seeds,
                    )
                )
    return cells


class _Flattened:
    """What identifies trials as flat columns; a part that several share is flattened once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[Any, dict[str, Value]]] = {}

    def settings(self, identity: Mapping[str, Any]) -> dict[str, Value]:
        """Columns of one trial: "cell.ipc", "student.lr", "parents.codec", "protocol"…"""
        columns: dict[str, Value] = {"protocol": identity.get("protocol")}
        for name in ("cell", "student", "parents"):
            columns |= self._part(name, identity.get(name) or {})
        return columns

    def _part(self, name: str, part: Mapping[str, Any]) -> dict[str, Value]:
        # The part is kept beside its columns, so that no other one can get its id.
        known = self._known.get((name, id(part)))
        if known is None:
            used = {key: part.get(key) for key in _OF_PARENTS} if name == "parents" else part
            known = self._known[name, id(part)] = part, flatten(used, f"{name}.")
        return known[1]


def _axes(settings: Mapping[str, Value], expert_names: Mapping[str, str]) -> dict[str, Value]:
    """Axes as those of a trial with these settings."""
    record: dict[str, Any] = {"cell": {}, "student": {}, "parents": {}}
    for name, value in settings.items():
        part, _, rest = name.partition(".")
        if rest:
            record[part][rest] = value
        else:
            record[part] = value
    return axes_of(record, expert_names)


def _merged(blocks: Sequence[Block], name: str) -> list[Block]:
    """Blocks that differ in one column alone become one block with all its values."""
    found: dict[tuple[Column, ...], Block] = {}
    values: dict[tuple[Column, ...], dict[Any, None]] = {}
    for block in blocks:
        key = tuple(column for other, column in block.items() if other != name)
        found.setdefault(key, block)
        values.setdefault(key, {}).update(dict.fromkeys(block[name]))
    return [
        {**block, name: tuple(sorted(values[key], key=_in_order))} for key, block in found.items()
    ]


def _in_order(value: Any) -> tuple[int, Any]:
    """Sorts a column: null, then numbers, or else words or seeds, which share theirs with null."""
    if value is None:
        return (0, 0)
    return (1, value) if isinstance(value, int | float) else (2, value)


def _sorted_seeds(seeds: Mapping[str, int]) -> Seeds:
    return tuple(sorted((str(name), int(value)) for name, value in seeds.items()))


def _plain(name: str, column: Column) -> list[Any]:
    return [dict(value) for value in column] if name == SEEDS else list(column)
