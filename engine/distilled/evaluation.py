"""An evaluation on disk: what was evaluated how, and one durable record a student.

    OUT/evaluation.json       the set, the dataset, the student's recipe, the seeds asked for
    OUT/students/SEED.json    one student: accuracies, losses, seconds, environment; written last

It grows by more seeds; everything else is its identity. The head is derived: where it is missing or
damaged, the next run writes it anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.analysis import MEASURES
from engine.analysis.statistics import summarise
from engine.analysis.trials import flatten
from engine.destination import check_destination
from engine.errors import ArtefactError, DamageError, MismatchError
from engine.records import read_record, write_record

HEAD = "evaluation.json"
KIND = "evaluation"
RECORDS = "students/*.json"
AGAIN = "running the same `engine evaluate` command again makes it anew"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Students of one distilled set.

    name: of the set. ipc: images over classes, whole where they are balanced. labels: hard or
    soft; label_kind: what the soft ones were made of. accuracies: on test, as fractions, by measure
    (`final`, `selected`, `max_on_test`), one for each of ``seeds`` that has it; validation:
    likewise. missing: students that were asked for and have no result.
    """

    name: str
    id: str
    dataset_id: str
    dataset_name: str
    distilled_id: str
    num_images: int
    num_classes: int
    ipc: float
    labels: str
    label_kind: str
    images: str
    student: Mapping[str, Any]
    precision: str
    accuracies: Mapping[str, tuple[float, ...]]
    validation: Mapping[str, tuple[float, ...]]
    seeds: tuple[int, ...]
    missing: int
    findings: tuple[Mapping[str, str], ...]
    path: Path


class EvaluationFolder:
    """The files of one evaluation."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def exists(self) -> bool:
        """Whether an evaluation lies here."""
        return (self.path / HEAD).exists()

    def head(self) -> dict[str, Any]:
        """What was evaluated, and how.

        Raises:
            ArtefactError: no evaluation lies here.
            DamageError: its head is not as it was written.
        """
        if not self.exists():
            raise ArtefactError(
                f"{self.path} is no evaluation (no {HEAD}): run `engine evaluate --data DATA "
                f"--distilled PATH --out {self.path}` first"
            )
        head = read_record(self.path / HEAD)
        if head.get("kind") != KIND:
            raise ArtefactError(
                f"{self.path / HEAD} holds a {head.get('kind')}, expected an evaluation"
            )
        return head

    def remembered(self) -> dict[str, Any]:
        """The head of the run before; where it is missing or damaged, what the students say of it.

        Empty where no evaluation lies here. From students come ``id``, ``asked``, ``precision``.
        """
        if self.exists():
            with contextlib.suppress(DamageError):
                return self.head()
        head: dict[str, Any] = {}
        for file in sorted(self.path.glob(RECORDS)):
            with contextlib.suppress(ArtefactError):
                record = read_record(file)
                head.setdefault("id", record["evaluation"])
                head.setdefault("asked", []).append(file.stem)
                if record["status"] == "done":
                    head.setdefault("precision", record["environment"]["precision"])
        return head

    def check(self, head: Mapping[str, Any]) -> None:
        """Raise MismatchError for another evaluation here, UsageError for other files."""
        check_destination(self.path, KIND, records=RECORDS, derived=True)
        there = self.remembered()
        if there.get("id", head["id"]) != head["id"]:
            why = ""
            if "student" in there:
                old, new = _identity(there), _identity(head)
                differing = [f"{k}: {old.get(k)} → {new[k]}" for k in new if old.get(k) != new[k]]
                why = f" ({', '.join(differing)})"
            raise MismatchError(
                f"{self.path} holds evaluation {there['id']}, but these options describe "
                f"{head['id']}{why}. Choose another --out."
            )

    def begin(self, head: Mapping[str, Any]) -> None:
        """Write the head; seeds that were asked for before stay asked for."""
        asked = list(self.remembered().get("asked", ()))
        asked += [seeds for seeds in head["asked"] if seeds not in asked]
        write_record(self.path / HEAD, {**head, "asked": asked})

    def file_of(self, name: str) -> Path:
        """Where a student's record lies."""
        return self.path / "students" / name

    def done(self, name: str, student_id: str) -> dict[str, Any] | None:
        """A student's record if it is whole, its own and of one that finished well."""
        try:
            record = read_record(self.file_of(name))
        except ArtefactError:  # none, or a damaged one
            return None
        is_done = record.get("status") == "done" and record.get("id") == student_id
        return record if is_done else None

    def records(self) -> list[dict[str, Any]]:
        """Every student's record, by seed. Raises DamageError."""
        files = sorted(self.path.glob(RECORDS), key=lambda file: _seed_order(file.stem))
        return [read_record(file) for file in files]


def _seed_order(stem: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdigit() else -1, part) for part in stem.split("-")]


def _identity(head: Mapping[str, Any]) -> dict[str, Any]:
    """What tells one evaluation from another, for an error."""
    parts = {name: head[name] for name in ("student", "protocol")}
    parts |= {"dataset": head["dataset"]["id"], "distilled": head["distilled"]["id"]}
    parts |= {"normalisation": head["dataset"]["normalisation"]}
    parts |= {name: head["distilled"][name] for name in ("images", "labels")}
    return flatten(parts)


def read_evaluation(folder: str | Path) -> Evaluation:
    """Read an evaluation, finished or not.

    Raises:
        ArtefactError: none lies there.
        DamageError: a record is not as it was written.
    """
    files = EvaluationFolder(folder)
    head = files.head()
    done = [record for record in files.records() if record["status"] == "done"]
    asked = len(head["asked"])
    about, dataset = head["distilled"], head["dataset"]
    ipc = about["images_per_class"]
    return Evaluation(
        name=about["name"],
        id=head["id"],
        dataset_id=dataset["id"],
        dataset_name=dataset["name"],
        distilled_id=about["id"],
        num_images=about["num_images"],
        num_classes=about["num_classes"],
        ipc=int(ipc) if ipc == int(ipc) else ipc,
        labels=hard_or_soft(about["labels"]),
        label_kind=about["labels"],
        images=about["images"],
        student=head["student"],
        precision=head["precision"],
        accuracies=accuracies_of(done, "test"),
        validation=accuracies_of(done, "validation"),
        seeds=tuple(record["seeds"]["init_seed"] for record in done),
        missing=asked - len(done),
        findings=tuple(about["findings"]),
        path=Path(folder),
    )


def hard_or_soft(label_kind: str) -> str:
    """The two kinds of labels that tables tell apart."""
    return "hard" if label_kind == "hard" else "soft"


def accuracies_of(records: Sequence[Mapping[str, Any]], split: str) -> dict[str, tuple[float, ...]]:
    """Fractions by measure, of the records that have them."""
    found: dict[str, tuple[float, ...]] = {}
    for measure in MEASURES:
        parts = [record["result"][measure] for record in records]
        values = [part.get(split) for part in parts if part is not None]
        found[measure] = tuple(value for value in values if value is not None)
    return found


def accuracy_table(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Test accuracy by measure: mean, standard deviation and 95 % interval over students."""
    rows = []
    for measure, values in accuracies_of(records, "test").items():
        summary = summarise(values)
        if summary is not None:
            rows.append(
                {
                    "measure": measure.replace("_", " "),
                    "students": summary.n,
                    "test": summary.mean,
                    "std": summary.std,
                    "ci_low": summary.ci_low,
                    "ci_high": summary.ci_high,
                }
            )
    return rows


def evaluation_info(path: str | Path) -> dict[str, Any]:
    """What was evaluated, how, and what came of it. Raises as :func:`read_evaluation`."""
    files = EvaluationFolder(path)
    head = files.head()
    records = files.records()
    done = [record for record in records if record["status"] == "done"]
    findings = head["distilled"].pop("findings")
    return {
        "path": str(path),
        **{k: v for k, v in head.items() if k not in ("asked", "packing")},
        "students_asked": len(head["asked"]),
        "students_done": len(done),
        "students_failed": len(records) - len(done),
        "table": accuracy_table(done),
        **({"taken_as": findings} if findings else {}),
    }


def verify_evaluation(path: str | Path, *, progress: Any = None) -> dict[str, Any]:
    """Check every record of an evaluation; returns ``{"ok", "checked", "problems"}``."""
    files = EvaluationFolder(path)
    problems, identity = [], None
    every = [files.path / HEAD, *sorted(files.path.glob(RECORDS))]
    for number, file in enumerate(every):
        try:
            record = files.head() if number == 0 else read_record(file)
            identity = record["id"] if number == 0 else identity
            if number and identity and record.get("evaluation") != identity:
                problems.append(f"{file} is of evaluation {record.get('evaluation')}; delete it")
        except DamageError as error:
            problems.append(f"{error}; {AGAIN}")
        if progress:
            progress("verify", number + 1, len(every))
    return {
        "kind": KIND,
        "path": str(path),
        "ok": not problems,
        "checked": len(every),
        "problems": problems,
    }
