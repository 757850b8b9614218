"""Store the logits of many checkpoints for every training sample.

Each block of images is read and decoded once, and every checkpoint that lacks it is applied to it,
so memory depends neither on the number of epochs nor on the size of the dataset. Inference runs in
fp32 (bf16 would cost as much accuracy as an 8-bit code, ZARR.md) on the un-augmented view. Blocks
and the batches inside them are fixed by the store's layout, so any number of ranks and any history
of interruptions write the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import beton_builder
import labelstore
from engine.errors import ArtefactError, MismatchError, RankError, UsageError
from engine.loading import load_resident
from engine.models import build_model
from engine.training.expert_run import ExpertRun, check_same_normalisation, open_run
from engine.training.launch import Progress, refuse_launchers, run_ranks
from engine.training.precision import choose_arithmetic
from engine.training.step import Network

VIEW = "plain"
INFERENCE_BATCH = 256
WEIGHTS_IN_MEMORY = 2**30


def dump_labels(
    data: str | Path,
    expert: str | Path,
    out: str | Path,
    *,
    epochs: Literal["all"] | Sequence[int] = "all",
    codec: str = "dense",
    processes: int = 1,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write an expert's soft labels of the train split into a label store.

    Args:
        data: the dataset the expert was trained on.
        expert: the expert run.
        out: the store, created where it is missing, else extended.
        epochs: ``"all"`` checkpoints, the initial weights included, or a list of epochs.
        codec: how labels are stored; ``dense`` is float16 logits.
        processes: ranks on this machine; each writes its own chunks.
        dry_run: return the plan and touch nothing.

    Raises:
        MismatchError: the expert was trained on another dataset.
        ArtefactError: an epoch has no checkpoint.
        UsageError: another codec.
        labelstore.LabelStoreError: the store belongs to another dataset, or refuses the labels.
    """
    if codec != "dense":
        raise UsageError(f"codec {codec!r}: expected dense")
    dataset = beton_builder.open_dataset(data)
    run = open_run(expert)
    if run.dataset_id != dataset.id:
        raise MismatchError(
            f"expert run {run.path} was trained on dataset {run.dataset_id} "
            f"({run.manifest['dataset']['name']}), but {dataset.path} is dataset {dataset.id} "
            f"({dataset.name}). Pass the --data it was trained on, or train another expert."
        )
    check_same_normalisation(run, dataset)
    wanted = _wanted_epochs(run, epochs)
    num_samples = dataset.split("train").num_samples
    if dry_run:
        missing = _missing_epochs(out, dataset, run, wanted)
        return {
            "plan": "dump-labels",
            "out": str(out),
            "expert": expert_name(run),
            "view": VIEW,
            "epochs": wanted,
            "epochs_missing": missing,
            "samples": num_samples,
            "bytes": len(missing) * num_samples * (2 * dataset.num_classes + 8),
            "processes": processes,
        }
    refuse_launchers()
    store = labelstore.create_store(
        out, dataset_id=dataset.id, classes=dataset.classes, num_samples=num_samples
    )
    view = store.add_view(expert_name(run), VIEW, identity=_view_identity(run, dataset))
    records = {epoch: run.record(epoch) for epoch in wanted}
    checkpoints = {epoch: record["checkpoint"] for epoch, record in records.items()}
    view.prepare(wanted, checkpoints, {e: _about(r["metrics"]) for e, r in records.items()})
    missing = [epoch for epoch in wanted if epoch not in view.epochs]
    if missing:
        run_ranks(
            _dump_on_rank,
            processes,
            progress,
            str(data),
            str(expert),
            str(out),
            {epoch: checkpoints[epoch] for epoch in missing},
            processes,
        )
    return {
        "status": "dumped" if missing else "finished already",
        "store": str(out),
        "expert": expert_name(run),
        "view": VIEW,
        "epochs_written": missing,
        "samples": num_samples,
        "table": _entropy_table(view),
    }


def expert_name(run: ExpertRun) -> str:
    """The name of a run inside a store: architecture, seed and the start of its id."""
    return f"{run.manifest['recipe']['model']}-seed{run.manifest['seed']}-{run.id[:8]}"


def _wanted_epochs(run: ExpertRun, epochs: Literal["all"] | Sequence[int]) -> list[int]:
    have = run.epochs()
    if not have:
        raise ArtefactError(f"{run.path} has no finished epoch: run `engine train-expert` again")
    if epochs == "all":
        return have
    wanted = sorted(set(epochs))
    if not wanted:
        raise UsageError("no epochs asked for: pass --all-epochs or --epochs 1,13,36")
    for epoch in wanted:
        run.record(epoch)
    return wanted


def _about(metrics: dict[str, Any]) -> dict[str, Any]:
    """What a store notes of an epoch, so that it says by itself how good its expert was."""
    return {key: metrics[key] for key in ("train_accuracy", "test_accuracy") if key in metrics}


def _view_identity(run: ExpertRun, dataset: beton_builder.Dataset) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "model": run.manifest["recipe"]["model"],
        "transform": {
            "view": VIEW,
            "resolution": run.manifest["recipe"]["resolution"],
            "decode_path": dataset.decode_path,
        },
        "precision": "fp32",
    }


def _missing_epochs(
    out: str | Path, dataset: beton_builder.Dataset, run: ExpertRun, wanted: list[int]
) -> list[int]:
    if not Path(out).exists():
        return wanted
    store = labelstore.open_store(out, dataset_id=dataset.id, classes=dataset.classes)
    if (expert_name(run), VIEW) not in store.views():
        return wanted
    have = store.view(expert_name(run), VIEW).epochs
    return [epoch for epoch in wanted if epoch not in have]


def _entropy_table(view: labelstore.LabelView) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "label_entropy": float(view.entropy(epoch).mean(dtype=np.float64)),
            "cross_entropy": float(view.cross_entropy(epoch).mean(dtype=np.float64)),
            **view.about(epoch),
        }
        for epoch in view.epochs
    ]


def _dump_on_rank(
    data: str,
    expert: str,
    out: str,
    checkpoints: dict[int, str],
    processes: int,
    *,
    progress: Progress,
) -> dict[str, Any]:
    from accelerate import PartialState

    # Ranks own chunks of their own and may end hours apart: nothing here waits for another rank.
    state = PartialState(cpu=not torch.cuda.is_available())
    if processes > 1 and state.num_processes != processes:
        raise RankError(f"asked for {processes} ranks, but Accelerate sees {state.num_processes}")
    dataset = beton_builder.open_dataset(data)
    teacher = Teacher(dataset, open_run(expert))
    view = labelstore.open_store(out, dataset_id=dataset.id, classes=dataset.classes).view(
        expert_name(teacher.run), VIEW
    )
    with view.writer(
        sorted(checkpoints), checkpoints, rank=state.process_index, world=state.num_processes
    ) as writer:
        rows = [view.geometry.rows_of(chunk) for chunk in writer.own_chunks]
        total = sum(stop - start for start, stop in rows) * len(checkpoints)
        written = 0
        # Lazily: a chunk's disk space is reserved, and its lock taken, when its turn has come.
        for start, stop, epochs in writer.missing_blocks():
            images, labels = teacher.read(np.arange(start, stop))
            before = sum(min(last, start) - min(first, start) for first, last in rows)
            done = before * len(checkpoints) + (stop - start) * (len(checkpoints) - len(epochs))
            for epoch in epochs:
                writer.write(epoch, start, teacher.logits(epoch, images), labels)
                written += stop - start
                done += stop - start
                progress("dump labels", done, total)
        progress("dump labels", total, total)
    return {"labels": written}


class Teacher:
    """An expert's checkpoints, applied to un-augmented images in fp32."""

    def __init__(self, dataset: beton_builder.Dataset, run: ExpertRun) -> None:
        self.run = run
        self.dataset = dataset
        resolution = self.resolution = int(run.manifest["recipe"]["resolution"])
        model = build_model(
            run.manifest["recipe"]["model"],
            num_classes=dataset.num_classes,
            channels=dataset.channels,
            resolution=resolution,
            init_seed=0,
        )
        self.network = Network(model.eval(), choose_arithmetic("fp32"), dataset.mean, dataset.std)
        size = sum(p.numel() * p.element_size() for p in model.state_dict().values())
        self._keep = WEIGHTS_IN_MEMORY // max(1, size)
        self._weights: dict[int, dict[str, Tensor]] = {}

    def read(self, ids: npt.NDArray[np.int64]) -> tuple[Tensor, npt.NDArray[np.int64]]:
        """uint8 images (n, c, h, w) and labels (n,) int64 of sample ids (n,), in that order."""
        block = load_resident(self.dataset, "train", indices=ids, resolution=self.resolution)
        return block.images, block.labels.numpy()

    @torch.no_grad()
    def logits(self, epoch: int, images_nchw: Tensor) -> npt.NDArray[np.float32]:
        """fp32 logits (n, k) of uint8 images (n, c, h, w) after ``epoch`` epochs."""
        self.network.load_weights(self._weights_of(epoch))
        pieces = []
        for images in images_nchw.split(INFERENCE_BATCH):
            normalised = self.network.normalise(images)
            pieces.append(
                self.network.logits(normalised, compiled=len(images) == INFERENCE_BATCH).cpu()
            )
        return torch.cat(pieces).numpy()

    def _weights_of(self, epoch: int) -> dict[str, Tensor]:
        if epoch not in self._weights:
            if len(self._weights) >= self._keep:
                self._weights.clear()
            self._weights[epoch] = self.run.weights(epoch)
        return self._weights[epoch]
