"""Learned labels as arrays, for reports and comparisons: the folder's results, checked.

n samples, k classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ArtefactError, DamageError
from engine.experiments.learned_labels.folder import AGAIN, RESULT, LearnedFolder, open_folder


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What came out of learning.

    ids: (n,) int64, positions in the train split. labels: (n,) int64, true classes. logits_nk,
    initial_logits_nk: float32, now and before the first step. step: outer steps taken. history: a
    row for each, with ``outer_loss`` and, now and then, ``validation_accuracy``. comparisons: an
    entry for each expert they were compared with, see `compare_with_expert`.
    """

    path: Path
    id: str
    manifest: dict[str, Any]
    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    logits_nk: npt.NDArray[np.float32]
    initial_logits_nk: npt.NDArray[np.float32]
    step: int
    history: tuple[dict[str, Any], ...]
    comparisons: tuple[dict[str, Any], ...]

    @property
    def probabilities_nk(self) -> npt.NDArray[np.float32]:
        """The learned soft labels, rows sum to 1."""
        return softmax(self.logits_nk)

    @property
    def ipc(self) -> int:
        """Images per class."""
        return int(self.manifest["recipe"]["ipc"])

    @property
    def knowledge_free(self) -> bool:
        """Whether no expert had any part in them."""
        return bool(self.manifest["knowledge_free"])


def softmax(logits_nk: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probabilities of logits (n, k), computed in float64."""
    powers = np.exp(logits_nk.astype(np.float64) - logits_nk.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def entropy_of(probabilities_nk: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Entropy of each row in nats, (n,)."""
    p = probabilities_nk.astype(np.float64)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1)


def read_learned(path: str | Path) -> Learned:
    """The labels at ``path``, as their last finished run left them.

    Raises:
        ArtefactError: there are none, or nobody has finished learning them.
        DamageError: their bytes are not those that were recorded.
    """
    folder = open_folder(path)
    result = folder.result()
    if result is None and (folder.path / RESULT).exists():
        raise DamageError(
            f"{path}: {RESULT} is damaged, or labels.npz or distilled.npz is missing or damaged "
            f"(other SHA-256 than recorded); {AGAIN}"
        )
    if result is None:
        steps = folder.steps()
        reached = f"step {steps[-1]} is the last on disk" if steps else "not one step is on disk"
        raise ArtefactError(f"{path}: learning was not finished ({reached}); {AGAIN}")
    with np.load(folder.path / "labels.npz") as arrays:
        return Learned(
            path=folder.path,
            id=folder.id,
            manifest=folder.manifest,
            ids=arrays["ids"],
            labels=arrays["labels"],
            logits_nk=arrays["logits"],
            initial_logits_nk=arrays["initial_logits"],
            step=int(result["step"]),
            history=tuple(row for row in folder.history() if row["step"] <= result["step"]),
            comparisons=tuple(folder.comparisons()),
        )


def measured_steps(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The outer steps at which a held-out student was asked of validation, and its length, which
    may change while labels are learned."""
    columns = ("step", "outer_loss", "entropy", "validation_accuracy", "student_epochs")
    measured = [row for row in history if row.get("validation_accuracy") is not None]
    return [{column: row.get(column) for column in columns} for row in measured]


def learned_info(path: str | Path) -> dict[str, Any]:
    """What a folder of learned labels is, how far it came, what was measured on the way."""
    folder = open_folder(path)
    recipe, history = folder.manifest["recipe"], folder.history()
    return {
        "kind": folder.manifest["kind"],
        "path": str(folder.path),
        "id": folder.id,
        "dataset": folder.manifest["dataset"]["name"],
        "ipc": recipe["ipc"],
        "knowledge": folder.manifest["knowledge"],
        "steps": history[-1]["step"] if history else None,
        "finished": folder.result() is not None,
        "recipe": recipe,
        "seed": folder.manifest["seed"],
        "table": measured_steps(history),
        **_best(folder),
    }


def _best(folder: LearnedFolder) -> dict[str, Any]:
    columns = ("measure", "epoch", "low", "high", "share")
    rows = [
        {"expert": entry["expert"]} | {column: row[column] for column in columns}
        for entry in folder.comparisons()
        for row in entry["best"]
    ]
    return {"best_matching_epoch": rows} if rows else {}
