"""The expert run on disk: its identity, one checkpoint and one record an epoch.

    RUN/manifest.json                            identity: recipe, seed, dataset (written first)
    RUN/checkpoints/epoch_0013.safetensors       weights after 13 epochs (0: initial ones)
    RUN/checkpoints/epoch_0013.json              record: their hashes and the metrics, written last
    RUN/checkpoints/epoch_0013.state.safetensors optimiser state, kept for the last epoch only

An epoch exists once its record does. A run grows by more epochs; its id does not change.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from beton_builder import Dataset
from engine.destination import check_destination
from engine.errors import ArtefactError, DamageError, MismatchError
from engine.records import content_id, file_sha256, read_record, write_record
from engine.training.checkpoint import load_checkpoint, save_checkpoint

KIND = "expert-run"
MANIFEST = "manifest.json"
RECORDS = "checkpoints/epoch_*.json"
ANEW = "train that run anew: the same `engine train-expert` command with --force"


@dataclass(frozen=True, kw_only=True)
class ExpertRun:
    """An expert run; ``manifest`` is its immutable identity."""

    path: Path
    manifest: dict[str, Any]

    @property
    def id(self) -> str:
        """The hash of dataset, recipe and seed."""
        return str(self.manifest["id"])

    @property
    def dataset_id(self) -> str:
        """The dataset the expert was trained on."""
        return str(self.manifest["dataset"]["id"])

    def checkpoint_path(self, epoch: int) -> Path:
        """Where the weights after ``epoch`` epochs lie."""
        return self.path / "checkpoints" / f"epoch_{epoch:04d}.safetensors"

    def record_path(self, epoch: int) -> Path:
        """Where the record that completes an epoch lies."""
        return self.path / "checkpoints" / f"epoch_{epoch:04d}.json"

    def state_path(self, epoch: int) -> Path:
        """Where the optimiser's state after an epoch lies, while it is the last."""
        return self.path / "checkpoints" / f"epoch_{epoch:04d}.state.safetensors"

    def epochs(self) -> list[int]:
        """Complete epochs, in order, without a gap: 0 … last."""
        found = sorted(int(p.stem.removeprefix("epoch_")) for p in self.path.glob(RECORDS))
        return [epoch for position, epoch in enumerate(found) if position == epoch]

    def record(self, epoch: int) -> dict[str, Any]:
        """The record of an epoch: ``checkpoint`` (SHA-256), ``metrics``, ``environment``.

        Raises:
            ArtefactError: that epoch was never trained.
        """
        if not self.record_path(epoch).exists():
            have = self.epochs()
            raise ArtefactError(
                f"{self.path} has no epoch {epoch} (it has {_span(have)}): "
                f"run `engine train-expert --out {self.path} --epochs {epoch} …` to extend it"
            )
        return read_record(self.record_path(epoch))

    def checkpoint_id(self, epoch: int) -> str:
        """The SHA-256 of an epoch's checkpoint file, as recorded."""
        return str(self.record(epoch)["checkpoint"])

    def weights(self, epoch: int) -> dict[str, Tensor]:
        """The weights after an epoch, checked against the run's id.

        Raises:
            MismatchError: the file is a checkpoint of another run.
            DamageError: its bytes are not those that were recorded.
        """
        return self._load(self.checkpoint_path(epoch), epoch, "checkpoint")

    def state(self, epoch: int) -> dict[str, Tensor]:
        """The optimiser's state after the last epoch; raises as :meth:`weights` does."""
        return self._load(self.state_path(epoch), epoch, "state")

    def _load(self, path: Path, epoch: int, part: str) -> dict[str, Tensor]:
        tensors, metadata = load_checkpoint(path)
        if metadata.get("run_id") != self.id or metadata.get("epoch") != epoch:
            raise MismatchError(
                f"{path} belongs to run {metadata.get('run_id')} epoch {metadata.get('epoch')}, "
                f"expected run {self.id} epoch {epoch}"
            )
        if file_sha256(path) != self.record(epoch)[part]:
            raise DamageError(f"{path} is damaged (other SHA-256 than recorded); {ANEW}")
        return tensors

    def write_epoch(
        self,
        epoch: int,
        weights: dict[str, Tensor],
        state: dict[str, Tensor],
        metrics: dict[str, Any],
        environment: dict[str, Any],
    ) -> None:
        """Store an epoch: weights, optimiser state, then the record that completes it."""
        about = {"run_id": self.id, "epoch": epoch}
        checkpoint = save_checkpoint(self.checkpoint_path(epoch), weights, about)
        state_hash = save_checkpoint(self.state_path(epoch), state, about)
        record = {"epoch": epoch, "checkpoint": checkpoint, "state": state_hash}
        write_record(
            self.record_path(epoch), record | {"metrics": metrics, "environment": environment}
        )
        self.state_path(epoch - 1).unlink(missing_ok=True)


def _span(epochs: list[int]) -> str:
    return f"epochs 0 to {epochs[-1]}" if epochs else "none"


def check_place(path: Path) -> None:
    """Raise UsageError where something other than an expert run lies, which says what it is."""
    check_destination(path, KIND, records=RECORDS)


def create_run(path: Path, manifest: dict[str, Any], *, force: bool) -> ExpertRun:
    """Make a run's folder, or open it when it has the same identity.

    Raises:
        MismatchError: a run of another identity lies there, and ``force`` is off.
        UsageError: something else lies there.
    """
    identity = {key: manifest[key] for key in ("recipe", "seed")}
    identity["dataset"] = manifest["dataset"]["id"]
    if "whitening" in manifest["dataset"]:
        identity["whitening"] = manifest["dataset"]["whitening"]
    manifest = {**manifest, "id": content_id(identity)}
    check_place(path)
    if (path / MANIFEST).exists():
        if not force:
            run = open_run(path)
            if run.id == manifest["id"]:
                return run
            raise MismatchError(
                f"{path} holds expert run {run.id}, but these options describe run "
                f"{manifest['id']} ({_difference(run.manifest, manifest)}). "
                "Choose another --out, or --force to replace it."
            )
        # Checkpoints first: without them a new manifest describes a run that has not begun.
        shutil.rmtree(path / "checkpoints", ignore_errors=True)
    write_record(path / MANIFEST, manifest)
    return ExpertRun(path=path, manifest=manifest)


def check_same_normalisation(run: ExpertRun, dataset: Dataset) -> None:
    """A dataset's id says nothing of its mean, std and whitening, which a new build may change.

    Raises:
        MismatchError: the run saw images normalised otherwise.
    """
    then = run.manifest["dataset"]
    # What it was whitened with first: that changes mean and std, too.
    for name, had, now in (
        ("whitening", then.get("whitening"), dataset.whitening_id),
        ("mean", then["mean"], list(dataset.mean)),
        ("std", then["std"], list(dataset.std)),
    ):
        if had != now:
            raise MismatchError(
                f"expert run {run.path} was trained with {name} {had or 'none'}, but "
                f"{dataset.path} says {now or 'none'}: build the dataset with the --normalisation "
                "it had then, or train another expert"
            )


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    differing = [
        f"{key}: {old['recipe'].get(key)} → {value}"
        for key, value in new["recipe"].items()
        if old["recipe"].get(key) != value
    ]
    if old["seed"] != new["seed"]:
        differing.append(f"seed: {old['seed']} → {new['seed']}")
    for key in ("id", "whitening"):
        before, after = old["dataset"].get(key), new["dataset"].get(key)
        if before != after:
            differing.append(f"{'dataset' if key == 'id' else key}: {before} → {after}")
    return ", ".join(differing)


def open_run(path: str | Path) -> ExpertRun:
    """Open an expert run.

    Raises:
        ArtefactError: there is none at that path.
    """
    path = Path(path)
    if not (path / MANIFEST).exists():
        raise ArtefactError(
            f"{path} is no expert run (no {MANIFEST}): "
            f"run `engine train-expert --data DATA --out {path}` first"
        )
    manifest = read_record(path / MANIFEST)
    if manifest.get("kind") != KIND:
        raise ArtefactError(f"{path} holds a {manifest.get('kind')}, expected an expert run")
    return ExpertRun(path=path, manifest=manifest)


def run_info(path: str | Path) -> dict[str, Any]:
    """What a run is and how far it came: identity, epochs, metrics of each."""
    run = open_run(path)
    epochs = run.epochs()
    rows = [{"epoch": epoch, **run.record(epoch)["metrics"]} for epoch in epochs]
    return {
        "kind": KIND,
        "path": str(run.path),
        "id": run.id,
        "dataset": run.manifest["dataset"]["name"],
        "recipe": run.manifest["recipe"],
        "seed": run.manifest["seed"],
        "epochs": epochs[-1] if epochs else None,
        "table": rows,
    }


def verify_run(path: str | Path, *, progress: Any = None) -> dict[str, Any]:
    """Check every stored byte of a run against its records.

    Returns ``{"ok", "checked", "problems"}``; a problem names the file and what to do.
    """
    path = Path(path)
    problems: list[str] = []
    try:
        run = open_run(path)
    except DamageError as error:
        return {"kind": KIND, "ok": False, "checked": 1, "problems": [str(error)]}
    records = sorted(path.glob(RECORDS))
    for position, file in enumerate(records):
        epoch = int(file.stem.removeprefix("epoch_"))
        problems += _verify_epoch(run, epoch, last=position == len(records) - 1)
        if progress:
            progress("verify", position + 1, len(records))
    gap = len(records) - len(run.epochs())
    if gap:
        problems.append(f"{path}: the records have a gap before their last {gap} epochs")
    return {
        "kind": KIND,
        "path": str(path),
        "ok": not problems,
        "checked": len(records) + 1,
        "problems": problems,
    }


def _verify_epoch(run: ExpertRun, epoch: int, *, last: bool) -> list[str]:
    try:
        record = run.record(epoch)
    except DamageError as error:
        return [str(error)]
    files = {run.checkpoint_path(epoch): record["checkpoint"]}
    if last:
        files[run.state_path(epoch)] = record["state"]
    problems = []
    for file, expected in files.items():
        if not file.exists():
            problems.append(f"{file} is missing; {ANEW}")
        elif file_sha256(file) != expected:
            problems.append(f"{file} is damaged (other SHA-256 than recorded); {ANEW}")
    return problems
