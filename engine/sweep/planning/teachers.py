"""Whose labels students learn from: a grid's experts, epochs and ensembles, found in a label store.

In: an open store and a grid. Out: teachers, each a checkpoint or an ensemble of several, with what
identifies it. Every (expert, view, codec) is looked up once, however large the grid.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import labelstore
from engine.errors import UsageError
from engine.sweep.planning.epochs import BEST, BEST_ON_TEST, CHOSEN_BY, choose_epochs
from engine.sweep.planning.grid import EnsembleRule, Grid, values_of


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """One checkpoint's labels, or the mean logits of several, by their names in the store.

    Members are every epoch of every expert: experts in the order of ``view_ids``, epochs ascending.
    ``checkpoints`` has the id of each member, in the order experts, then epochs. ``resolution`` is
    that of the images which were labelled, if the store says so.
    """

    experts: tuple[str, ...]
    epochs: tuple[int, ...]
    view: str
    codec: str
    view_ids: tuple[str, ...]
    checkpoints: tuple[str, ...]
    resolution: int | None

    def describe(self) -> dict[str, Any]:
        """The names under which a store has these labels, for a trial's record."""
        return {
            "experts": list(self.experts),
            "epochs": list(self.epochs),
            "view": self.view,
            "codec": self.codec,
        }

    def parents(self) -> dict[str, Any]:
        """Ids of what these labels are. ``view``: a list where several experts labelled."""
        views = list(self.view_ids)
        return {
            "view": views[0] if len(views) == 1 else views,
            "codec": self.codec,
            "checkpoints": list(self.checkpoints),
        }


def recorded_teacher(names: Mapping[str, Any], parents: Mapping[str, Any]) -> Teacher:
    """The teacher of which a record has ``describe()`` and ``parents()``."""
    views = parents["view"]
    return Teacher(
        experts=tuple(names["experts"]),
        epochs=tuple(names["epochs"]),
        view=names["view"],
        codec=names["codec"],
        view_ids=tuple([views] if isinstance(views, str) else views),
        checkpoints=tuple(parents["checkpoints"]),
        resolution=None,
    )


_WHY_NOT = {
    BEST: "(only experts of `engine train-expert --hold-out` have any, others were trained on "
    "those images): name the epochs, such as --expert-epochs 13, or choose them on the test images "
    f"as the papers did, which makes accuracies there optimistic: --expert-epochs {BEST_ON_TEST}",
    BEST_ON_TEST: "(imported labels and datasets without a test split have none): name the epochs, "
    "such as --expert-epochs 13",
}
"""By word of `CHOSEN_BY`: where its accuracy may be lacking, and what to type instead."""


class StoredLabels:
    """What a store has of one (expert, view, codec), as it was when it was first asked for."""

    def __init__(self, view: labelstore.LabelView) -> None:
        if view.crops:
            raise UsageError(
                f"{view.folder} has labels of {view.crops} crops of every image, and students "
                "train on whole images: choose another view, such as --set view=plain"
            )
        self.view = view
        self.epochs = view.epochs
        self.checkpoints = view.checkpoints

    @property
    def resolution(self) -> int | None:
        """Of the images that were labelled; None where the store doesn't say."""
        found = self.view.identity.get("transform", {}).get("resolution")
        return None if found is None else int(found)

    def best_epoch(self, word: str) -> int:
        """The epoch that a word of ``CHOSEN_BY`` stands for; of equals the first.

        Initial weights, whose accuracy nobody measures, are never it.

        Raises:
            UsageError: the store doesn't know that accuracy of every trained epoch.
        """
        measure = CHOSEN_BY[word]
        accuracies = {e: self.view.about(e).get(measure) for e in self.epochs if e > 0}
        if not accuracies:
            raise UsageError(
                f"expert_epochs: {word} chooses among an expert's trained epochs, and "
                f"{self.view.folder} has none but its initial weights (epoch 0); dump more epochs "
                "with `engine dump-labels --all-epochs`"
            )
        lacking = [epoch for epoch, accuracy in accuracies.items() if accuracy is None]
        if lacking:
            raise UsageError(
                f"expert_epochs: {word} needs the expert's {measure.replace('_', ' ')} of every "
                f"epoch, and {self.view.folder} does not say it of epoch "
                f"{', '.join(map(str, lacking))} {_WHY_NOT[word]}"
            )
        return max(accuracies, key=lambda epoch: (accuracies[epoch], -epoch))

    def choose(self, epochs: Sequence[int | str]) -> list[int]:
        """The epochs that a grid's ``expert_epochs`` mean here. Raises UsageError."""
        return choose_epochs(
            epochs, self.epochs, best=self.best_epoch, dump_command=self.view.dump_command
        )


class TeacherFinder:
    """Finds the teachers of grids in one store."""

    def __init__(self, store: labelstore.LabelStore) -> None:
        self.store = store
        self._labels: dict[tuple[str | None, str, str | None], StoredLabels] = {}

    def labels(self, expert: str | None, view: str, codec: str | None) -> StoredLabels:
        """Labels by their names; None as in ``LabelStore.view``.

        Raises:
            labelstore.ViewNotFound, labelstore.BadArgument: there are none, or which is open.
            UsageError: they are labels of crops.
        """
        key = (expert, view, codec)
        if key not in self._labels:
            self._labels[key] = StoredLabels(self.store.view(expert, view, codec))
        return self._labels[key]

    def stored(self, grid: Grid) -> list[StoredLabels]:
        """All labels that a grid reads, each once. Raises as :meth:`labels` does."""
        rules = {
            None if rule is None or rule.experts is None else tuple(rule.experts): None
            for rule in grid.ensemble
        }
        names = [values_of(grid.expert) if rule is None else list(rule) for rule in rules]
        found = {
            self.labels(expert, view, codec): None
            for view in values_of(grid.view)
            for group in names
            for expert in self._experts(group, view)
            for codec in values_of(grid.codec)
        }
        return list(found)

    def of(self, grid: Grid, ipc: int) -> list[Teacher]:
        """The teachers of one IPC of a grid, each once. Raises as :meth:`labels` does."""
        found = {
            teacher: None
            for view in values_of(grid.view)
            for codec in values_of(grid.codec)
            for rule in grid.ensemble
            for teacher in self._of_rule(grid, ipc, view, codec, rule)
        }
        return list(found)

    def at_epoch(self, teacher: Teacher, epoch: int) -> Teacher:
        """The experts of a teacher at another epoch. Raises UsageError where it isn't stored."""
        names = teacher.experts
        members = [self.labels(expert, teacher.view, teacher.codec) for expert in names]
        return _teacher(members, _common_epochs(members, [epoch]))

    def only(self, grid: Grid, epoch: int) -> Teacher:
        """The only expert, view and codec that a grid names, at an epoch; ensembles don't count.

        Raises:
            UsageError: it names several, or the epoch isn't stored.
        """
        names = [
            (expert, view, codec)
            for view in values_of(grid.view)
            for expert in self._experts(values_of(grid.expert), view)
            for codec in values_of(grid.codec)
        ]
        member = self.labels(*the_only(names))
        return _teacher([member], _common_epochs([member], [epoch]))

    def _of_rule(
        self, grid: Grid, ipc: int, view: str, codec: str | None, rule: EnsembleRule | None
    ) -> list[Teacher]:
        axis = self._experts(values_of(grid.expert), view)
        groups = [[expert] for expert in axis]
        if rule is not None and rule.experts is not None:
            groups = [self._experts(list(rule.experts), view)]
        teachers = []
        for experts in groups:
            members = [self.labels(expert, view, codec) for expert in experts]
            if rule is not None and rule.epochs is not None:
                teachers.append(_teacher(members, _common_epochs(members, rule.epochs)))
            else:
                for epoch in _common_epochs(members, grid.expert_epochs_at(ipc)):
                    teachers.append(_teacher(members, [epoch]))
        return teachers

    def _experts(self, names: Sequence[str | None], view: str) -> list[str | None]:
        """Names with ``all`` spelt out; None, the only expert, stays."""
        there = [expert for expert, of in self.store.views() if of == view]
        found: list[str | None] = []
        for name in names:
            if name == "all" and name not in there:
                found.extend(there)
            elif name is None or name in there:
                found.append(name)
            else:
                near = difflib.get_close_matches(name, there, n=1)
                hint = (
                    f"did you mean {near[0]}?" if near else f"it has: {', '.join(there) or 'none'}"
                )
                raise UsageError(
                    f"{self.store.path} has no labels of expert {name!r} under {view!r}; {hint}"
                )
        return list(dict.fromkeys(found))


def the_only(names: Sequence[tuple[str | None, str, str | None]]) -> tuple[Any, ...]:
    """The one of (expert, view, codec), or UsageError: nobody says whose scores are meant."""
    if len(names) == 1:
        return names[0]
    several = "; ".join(" ".join(each for each in of if each) for of in names)
    raise UsageError(
        "students of hard labels have no expert of their own to score images, so it is the only "
        f"one of their grid, which has {len(names)}: {several}. Give those students a grid (a "
        "block under grids:) that names one, such as --set expert=NAME"
    )


def experts_views(
    grids: Iterable[Grid], store: labelstore.LabelStore | None
) -> list[labelstore.LabelView]:
    """Every view of labels that the grids read, of ensembles too. Raises as `TeacherFinder`."""
    if store is None:
        return []
    finder = TeacherFinder(store)
    found = {stored: None for grid in grids for stored in finder.stored(grid)}
    return [stored.view for stored in found]


def _common_epochs(members: Sequence[StoredLabels], epochs: Sequence[int | str]) -> list[int]:
    """The epochs meant, which every member must have; of ``all``, those that all of them have."""
    if len(members) == 1:
        return members[0].choose(epochs)
    for word in CHOSEN_BY:
        if word in epochs and len({member.best_epoch(word) for member in members}) > 1:
            found = ", ".join(f"{m.view.expert} {m.best_epoch(word)}" for m in members)
            raise UsageError(
                f"expert_epochs: {word} is another epoch for each expert of an ensemble ({found}): "
                "name the epochs"
            )
    common = set(members[0].epochs).intersection(*(member.epochs for member in members[1:]))
    named = [each for each in epochs if each != "all"]
    chosen = set(common) if "all" in epochs else set()
    if named:
        chosen = chosen.union(*(member.choose(named) for member in members))
    if not chosen:
        raise UsageError(
            "the experts of an ensemble have no epoch in common: "
            + "; ".join(f"{m.view.expert} has {', '.join(map(str, m.epochs))}" for m in members)
        )
    return sorted(chosen)


def _teacher(members: Sequence[StoredLabels], epochs: Sequence[int]) -> Teacher:
    # Logits are summed in this order: by what the experts are, not by what they are called.
    ordered = sorted(members, key=lambda member: member.view.id)
    first = ordered[0].view
    return Teacher(
        experts=tuple(member.view.expert for member in ordered),
        epochs=tuple(epochs),
        view=first.name,
        codec=first.codec,
        view_ids=tuple(member.view.id for member in ordered),
        checkpoints=tuple(m.checkpoints[epoch] for m in ordered for epoch in epochs),
        resolution=ordered[0].resolution,
    )
