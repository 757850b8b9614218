"""What a report is made from, told apart by what lies in each folder.

In: folders of sweeps, evaluations of distilled sets and learned labels. Out: sweeps' paths, and
the others read. They must be of the sweeps' dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.destination import IDENTITIES, KINDS, kind_of
from engine.errors import MismatchError, UsageError

if TYPE_CHECKING:
    from engine.distilled.evaluation import Evaluation as Evaluated
    from engine.experiments.learned_labels.reading import Learned

__all__ = ["Evaluated", "Learned", "Sources", "read_others", "sort_folders"]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Folders by kind, in the order given, each once."""

    sweeps: tuple[Path, ...]
    evaluations: tuple[Path, ...]
    learned: tuple[Path, ...]


def sort_folders(folders: Sequence[str | Path]) -> Sources:
    """Tell folders apart by the file that every artefact of a kind has.

    What is none of the others counts as a sweep, whose reader says what is missing.

    Raises:
        UsageError: an artefact of a kind that no report is made from, or no sweep at all.
    """
    given = [folders] if isinstance(folders, str | Path) else folders
    found: dict[str, list[Path]] = {"sweep": [], "evaluation": [], "learned-labels": []}
    for folder in dict.fromkeys(Path(each).resolve() for each in given):
        found[_kind(folder)].append(folder)
    if not found["sweep"] and any(found.values()):
        raise UsageError(
            "expected at least one sweep among the folders, found evaluations or learned labels "
            "alone\nengine report SWEEP EVALUATION… --out REPORT"
        )
    return Sources(
        sweeps=tuple(found["sweep"]),
        evaluations=tuple(found["evaluation"]),
        learned=tuple(found["learned-labels"]),
    )


def read_others(
    sources: Sources, dataset_id: str
) -> tuple[tuple[Evaluated, ...], tuple[Learned, ...]]:
    """Read evaluations and learned labels.

    Raises:
        MismatchError: one is of another dataset than the sweeps.
        ArtefactError, DamageError: one is unfinished or damaged.
    """
    evaluated: list[Evaluated] = []
    learned: list[Learned] = []
    if sources.evaluations:
        from engine.distilled.evaluation import read_evaluation

        evaluated += [read_evaluation(folder) for folder in sources.evaluations]
    if sources.learned:
        from engine.experiments.learned_labels.reading import read_learned

        learned += [read_learned(folder) for folder in sources.learned]
    ids = [(each.path, each.dataset_id) for each in evaluated]
    ids += [(each.path, str(each.manifest["dataset"]["id"])) for each in learned]
    for path, found in ids:
        if found != dataset_id:
            raise MismatchError(
                f"expected results on dataset {dataset_id} as in the sweeps, found dataset {found} "
                f"in {path}\nwrite one report per dataset"
            )
    return tuple(evaluated), tuple(learned)


def _kind(folder: Path) -> str:
    if (folder / "sweep.json").is_file():
        return "sweep"
    if (folder / "evaluation.json").is_file():
        return "evaluation"
    if not any((folder / name).is_file() for name in IDENTITIES):
        return "sweep"
    kind = kind_of(folder)
    if kind != "learned-labels":
        found = KINDS[kind] if kind else "something else"
        raise UsageError(
            f"expected a sweep, an evaluation or learned labels at {folder}, found {found}\n"
            "engine report SWEEP… --out REPORT"
        )
    return kind
