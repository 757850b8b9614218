"""What an evaluation would do, and what came of it: the command's result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.distilled.evaluation import EvaluationFolder, accuracy_table
from engine.distilled.student_of_set import StudentOfSet
from engine.sweep.planning.plan import amount_of_work
from engine.sweep.planning.trial import Trial


def describe_plan(
    head: Mapping[str, Any],
    files: EvaluationFolder,
    students: Sequence[StudentOfSet],
    left: Sequence[StudentOfSet],
    measure: Callable[[Sequence[Trial]], list[dict[str, Any]]] | None,
) -> dict[str, Any]:
    """The plan of an evaluation; ``measure``: students to estimates of their time, if wanted."""
    about = {k: v for k, v in head["distilled"].items() if k != "findings"}
    plan = {
        "plan": "evaluate",
        "out": str(files.path),
        "dataset": head["dataset"],
        "distilled": about,
        "student": head["student"],
        "students": len(students),
        "students_done": len(students) - len(left),
        **amount_of_work(left),
        **_taken_as(head),
    }
    if measure is not None and left:
        estimates = measure(left)
        plan["basis"] = {row["machine"]: row.pop("basis") for row in estimates}
        plan["estimates"] = estimates
    return plan


def _taken_as(head: Mapping[str, Any]) -> dict[str, Any]:
    findings = head["distilled"]["findings"]
    return {"taken_as": findings} if findings else {}


def summarise_evaluation(
    files: EvaluationFolder,
    head: Mapping[str, Any],
    students: Sequence[StudentOfSet],
    ran: Sequence[StudentOfSet],
    seconds: float,
) -> dict[str, Any]:
    """What the asked students came to, now or before; ``ran``: those that this run trained."""
    found = [files.done(student.file_name, student.id) for student in students]
    done = [record for record in found if record is not None]
    return {
        "status": "evaluated" if ran else "finished already",
        "evaluation": str(files.path),
        "distilled": head["distilled"]["name"],
        "images": head["distilled"]["num_images"],
        "labels": head["distilled"]["labels"],
        "students": len(students),
        "ran": len(ran),
        "failed": len(students) - len(done),
        "errors": _errors(files, students),
        "seconds": seconds,
        "table": accuracy_table(done),
        **_taken_as(head),
        "message": _about_validation(head["dataset"]),
    }


def _errors(files: EvaluationFolder, students: Sequence[StudentOfSet]) -> list[str]:
    """The last line of what every student that failed said, each once."""
    ours = {student.id for student in students}
    failed = [r for r in files.records() if r["status"] == "failed" and r["id"] in ours]
    return sorted({str(record["error"]).strip().splitlines()[-1] for record in failed})


def _about_validation(dataset: Mapping[str, Any]) -> str:
    count = dataset["validation_images"]
    if not count:
        return "No validation images: nothing could be selected."
    return (
        f"selected: where accuracy was best on {count:,} validation images, real images of the "
        "train split that these students did not see (whoever distilled the set may have)."
    )
