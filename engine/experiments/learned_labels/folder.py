"""Learned labels on disk: their identity, checkpoints of the outer loop, and what came out.

    LEARNED/manifest.json                  identity: recipe, seed, dataset, images (written first)
    LEARNED/steps/step_000050.safetensors  logits and Adam's state, kept for the last step only
    LEARNED/steps/step_000050.json         record: its hash, the history since the record before
    LEARNED/labels.npz                     ids (n,), labels (n,), logits (n, k), initial_logits
    LEARNED/distilled.npz                  images (n, h, w, c), labels as of an export in npz
    LEARNED/result.json                    record: the step they are of, their hashes; written last
    LEARNED/comparison.json                record: what they resemble among an expert's epochs

They grow by more outer steps; the id stays. A file is whole when a record with its hash says so.
"""

from __future__ import annotations

import functools
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.destination import check_destination
from engine.errors import ArtefactError, DamageError, MismatchError
from engine.records import content_id, file_sha256, read_record, write_bytes, write_record

KIND = "learned-labels"
MANIFEST, RESULT, COMPARISON = "manifest.json", "result.json", "comparison.json"
RECORDS = "steps/step_*.json"
FILES = ("labels.npz", "distilled.npz")
ANEW = "learn these labels anew: the same `engine learn-labels` command with --force"
AGAIN = "run the same `engine learn-labels` command again"
COMPARE = f"{AGAIN}, with --compare STORE"


@dataclass(frozen=True, kw_only=True)
class LearnedFolder:
    """A folder of learned labels; ``manifest`` is its immutable identity."""

    path: Path
    manifest: dict[str, Any]

    @property
    def id(self) -> str:
        """The hash of dataset, recipe, seed and the labels it began with."""
        return str(self.manifest["id"])

    def steps(self) -> list[int]:
        """Outer steps that a record was written after, in order."""
        return sorted(int(p.stem.removeprefix("step_")) for p in self.path.glob(RECORDS))

    def record(self, step: int) -> dict[str, Any]:
        """The record of a checkpoint: ``checkpoint`` (SHA-256), ``history``, ``environment``."""
        return _read(self._file(step, "json"), ANEW)

    def history(self) -> list[dict[str, Any]]:
        """A row for every outer step so far, row 0 before the first."""
        return [row for step in self.steps() for row in self.record(step)["history"]]

    def state_path(self, step: int) -> Path:
        """Where the state after a step lies, while it is the last."""
        return self._file(step, "safetensors")

    def state(self, step: int) -> dict[str, Any]:
        """Tensors by name, as :meth:`write_step` was given them.

        Raises:
            DamageError: they are missing or not those that were recorded.
        """
        from engine.training.checkpoint import load_checkpoint

        path = self.state_path(step)
        if not path.is_file() or file_sha256(path) != self.record(step)["checkpoint"]:
            raise DamageError(f"{path} is missing or damaged (other SHA-256 than recorded); {ANEW}")
        tensors, metadata = load_checkpoint(path)
        if metadata.get("id") != self.id:
            raise MismatchError(f"{path} belongs to {metadata.get('id')}, expected {self.id}")
        return tensors

    def write_step(
        self,
        step: int,
        tensors: dict[str, Any],
        history: Sequence[Mapping[str, Any]],
        environment: Mapping[str, Any],
    ) -> None:
        """Store the state after a step, then the record that completes it; drops older states."""
        from engine.training.checkpoint import save_checkpoint

        about = {"id": self.id, "step": step}
        digest = save_checkpoint(self.state_path(step), tensors, about)
        record = {"step": step, "checkpoint": digest, "history": list(history)}
        write_record(self._file(step, "json"), record | {"environment": dict(environment)})
        for old in self.path.glob("steps/step_*.safetensors"):
            if old != self.state_path(step):
                old.unlink()

    def result(self) -> dict[str, Any] | None:
        """The record of what came out, if it is there, whole, and its files are as it says.

        The last step has all that is needed to make them anew.
        """
        try:
            result = read_record(self.path / RESULT)
        except ArtefactError:  # none, or a damaged one
            return None
        whole = all(
            (self.path / name).is_file() and file_sha256(self.path / name) == result["files"][name]
            for name in FILES
        )
        return result if whole else None

    def write_result(
        self, step: int, labels: Mapping[str, npt.ArrayLike], distilled: Mapping[str, npt.ArrayLike]
    ) -> None:
        """Store the labels after a step, then the record that completes them.

        What is said of the labels before them is removed first: it would contradict these.
        """
        for name in (COMPARISON, RESULT):
            (self.path / name).unlink(missing_ok=True)
        for name, arrays in zip(FILES, (labels, distilled), strict=True):
            write_npz(self.path / name, arrays)
        digests = {name: file_sha256(self.path / name) for name in FILES}
        write_record(self.path / RESULT, {"id": self.id, "step": step, "files": digests})

    def comparisons(self) -> list[dict[str, Any]]:
        """What `compare_with_expert` found, one entry for each expert; none if it is damaged."""
        try:
            return list(read_record(self.path / COMPARISON)["comparisons"])
        except ArtefactError:  # none, or a damaged one
            return []

    def _file(self, step: int, suffix: str) -> Path:
        return self.path / "steps" / f"step_{step:06d}.{suffix}"


def write_npz(path: Path, arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write arrays as an uncompressed .npz, whole or not at all; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    named: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    np.savez(buffer, **named)
    write_bytes(path, buffer.getvalue())


def check_place(path: Path) -> None:
    """Raise UsageError where something other than learned labels lies, which says what it is."""
    check_destination(path, KIND, records=RECORDS)


def create_folder(path: Path, manifest: dict[str, Any], *, force: bool) -> LearnedFolder:
    """Make a folder of learned labels, or open it when it has the same identity.

    Raises:
        MismatchError: labels of another identity lie there, and ``force`` is off.
        UsageError: something else lies there.
    """
    dataset = {key: manifest["dataset"][key] for key in ("id", "mean", "std", "whitening")}
    identity = {key: manifest[key] for key in ("recipe", "seed", "teacher")}
    manifest = {**manifest, "id": content_id(identity | {"dataset": dataset})}
    check_place(path)
    if (path / MANIFEST).exists():
        if not force:
            folder = open_folder(path)
            if folder.id == manifest["id"]:
                return folder
            raise MismatchError(
                f"{path} holds learned labels {folder.id}, but these options describe "
                f"{manifest['id']} ({_difference(folder.manifest, manifest)}). "
                "Choose another --out, or --force to replace them."
            )
        # Steps first: without them a new manifest describes labels that nobody began to learn.
        shutil.rmtree(path / "steps", ignore_errors=True)
        for name in (RESULT, COMPARISON, *FILES):
            (path / name).unlink(missing_ok=True)
    write_record(path / MANIFEST, manifest)
    return LearnedFolder(path=path, manifest=manifest)


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    before, after = _flat(old["recipe"]), _flat(new["recipe"])
    differing = [f"{k}: {before.get(k)} → {v}" for k, v in after.items() if before.get(k) != v]
    differing += [f"{key}: {old[key]} → {new[key]}" for key in ("seed",) if old[key] != new[key]]
    differing += [
        f"dataset's {key}: {old['dataset'][key]} → {new['dataset'][key]}"
        for key in ("id", "mean", "std", "whitening")
        if old["dataset"][key] != new["dataset"][key]
    ]
    if old["teacher"] != new["teacher"]:
        differing.append("other labels to begin with")
    return ", ".join(differing)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return flat


def open_folder(path: str | Path) -> LearnedFolder:
    """Open a folder of learned labels, finished or not.

    Raises:
        ArtefactError: there is none at that path.
    """
    path = Path(path)
    if not (path / MANIFEST).exists():
        raise ArtefactError(
            f"{path} holds no learned labels (no {MANIFEST}): "
            f"run `engine learn-labels --data DATA --out {path}` first"
        )
    manifest = _read(path / MANIFEST, ANEW)
    if manifest.get("kind") != KIND:
        raise ArtefactError(f"{path} holds a {manifest.get('kind')}, expected learned labels")
    return LearnedFolder(path=path, manifest=manifest)


def _read(path: Path, remedy: str) -> dict[str, Any]:
    """A record; where it is damaged, the error names what to do for labels."""
    try:
        return read_record(path)
    except DamageError as error:
        raise DamageError(
            f"{path} is damaged: its content does not match its checksum; {remedy}"
        ) from error


def verify_learned(
    path: str | Path, *, progress: Callable[[str, int, int], None] | None = None
) -> dict[str, Any]:
    """Check every stored byte of learned labels against their records.

    Returns ``{"ok", "checked", "problems"}``; a problem names the file and what to do.
    """
    path = Path(path)
    try:
        folder = open_folder(path)
    except DamageError as error:
        return {"kind": KIND, "ok": False, "checked": 1, "problems": [str(error)]}
    problems: list[str] = []
    records = sorted(path.glob(RECORDS))
    for position, file in enumerate(records):
        problems += _problems_of(functools.partial(_read, file, ANEW))
        if progress:
            progress("verify", position + 1, len(records))
    if records and not problems:
        problems += _problems_of(lambda: folder.state(folder.steps()[-1]))
        problems += _problems_of(lambda: _check_history(folder))
    if (path / RESULT).exists():
        problems += _problems_of(lambda: _check_files(folder))
    if (path / COMPARISON).exists():
        problems += _problems_of(lambda: _read(path / COMPARISON, COMPARE))
    checked = len([each for each in path.rglob("*") if each.is_file()])
    return {
        "kind": KIND,
        "path": str(path),
        "ok": not problems,
        "checked": checked,
        "problems": problems,
    }


def _check_history(folder: LearnedFolder) -> None:
    steps = [row["step"] for row in folder.history()]
    missing = sorted(set(range(folder.steps()[-1] + 1)) - set(steps))
    if missing:
        raise DamageError(
            f"{folder.path / 'steps'}: the record with the history of outer step {missing[0]} is "
            f"missing; {ANEW}"
        )


def _check_files(folder: LearnedFolder) -> None:
    digests = _read(folder.path / RESULT, AGAIN)["files"]
    for name in FILES:
        file = folder.path / name
        if not file.is_file() or file_sha256(file) != digests[name]:
            raise DamageError(
                f"{file} is missing or damaged (other SHA-256 than recorded); {AGAIN}"
            )


def _problems_of(check: Callable[[], object]) -> list[str]:
    try:
        check()
    except ArtefactError as error:
        return [str(error)]
    return []
