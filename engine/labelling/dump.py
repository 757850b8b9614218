"""Store the logits of many checkpoints for every training sample.

Each block of images is read and decoded once, and every checkpoint that lacks it is applied to it,
so memory depends neither on the number of epochs nor on the size of the dataset. Inference runs in
fp32: bf16 would cost as much accuracy as an 8-bit code. Blocks and the batches inside them follow
from the store's layout, so any number of ranks and any history of interruptions write the same
bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import beton_builder
import labelstore
from engine.errors import ArtefactError, MismatchError, RankError, UsageError
from engine.labelling.teacher import INFERENCE_BATCH, Teacher
from engine.labelling.views import ImageView, parse_view
from engine.training.expert_run import ExpertRun, check_same_normalisation, open_run
from engine.training.launch import Progress, check_ranks, run_ranks

MAX_BLOCK_ROWS = 2_048
BLOCK_IMAGE_BYTES = 2**28

_ACCURACIES = ("train_accuracy", "validation_accuracy", "test_accuracy")


def dump_labels(
    data: str | Path,
    expert: str | Path,
    out: str | Path,
    *,
    epochs: Literal["all"] | Sequence[int] = "all",
    codec: str = "dense",
    view: str = "plain",
    crop_seed: int = 0,
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
        codec: how labels are stored: ``dense`` (float16 logits), ``quantised:BITS``, ``topk:K``.
        view: which images are labelled: ``plain``, ``flip`` (mean of the image's and its mirror
            image's logits) or ``crop:S`` (S random resized crops, each with its label).
        crop_seed: draws the crops.
        processes: ranks on this machine; each writes its own chunks.
        dry_run: return the plan and touch nothing.

    Raises:
        MismatchError: the expert was trained on another dataset.
        ArtefactError: an epoch has no checkpoint.
        UsageError: another view.
        labelstore.LabelStoreError: the store belongs to another dataset, or refuses the labels.
    """
    image_view = parse_view(view, crop_seed)
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
    sample_bytes = labelstore.bytes_per_sample(dataset.num_classes, codec, image_view.crops)
    missing = _missing_epochs(out, dataset, run, image_view.name, codec, wanted)
    if missing:
        check_ranks(processes)
    if dry_run:
        return {
            "plan": "dump-labels",
            "out": str(out),
            "expert": expert_name(run),
            "view": image_view.name,
            "codec": codec,
            "epochs": wanted,
            "epochs_missing": missing,
            "samples": num_samples,
            "bytes": len(missing) * num_samples * sample_bytes,
            "processes": processes,
        }
    store = labelstore.create_store(
        out, dataset_id=dataset.id, classes=dataset.classes, num_samples=num_samples
    )
    labels = store.add_view(
        expert_name(run),
        image_view.name,
        identity=_view_identity(run, dataset, image_view),
        codec=codec,
        crops=image_view.crops,
    )
    records = {epoch: run.record(epoch) for epoch in wanted}
    checkpoints = {epoch: record["checkpoint"] for epoch, record in records.items()}
    labels.prepare(wanted, checkpoints, {e: _about(run, r) for e, r in records.items()})
    missing = [epoch for epoch in wanted if epoch not in labels.epochs]
    if missing:
        run_ranks(
            _dump_on_rank,
            processes,
            progress,
            str(data),
            str(expert),
            str(out),
            image_view,
            codec,
            {epoch: checkpoints[epoch] for epoch in missing},
            processes,
        )
    return {
        "status": "dumped" if missing else "finished already",
        "store": str(out),
        "expert": expert_name(run),
        "view": image_view.name,
        "codec": codec,
        "epochs_written": missing,
        "samples": num_samples,
        "table": _entropy_table(labels),
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


def _about(run: ExpertRun, record: dict[str, Any]) -> dict[str, Any]:
    """What a store notes of an epoch: how good its expert was, and what it was not trained on."""
    metrics = record["metrics"]
    noted = {key: metrics[key] for key in _ACCURACIES if key in metrics}
    return {**noted, "hold_out": run.manifest["recipe"]["hold_out"]}


def _view_identity(
    run: ExpertRun, dataset: beton_builder.Dataset, image_view: ImageView
) -> dict[str, Any]:
    resolution = run.manifest["recipe"]["resolution"]
    return {
        "run_id": run.id,
        "model": run.manifest["recipe"]["model"],
        "transform": image_view.transform(resolution, dataset.decode_path),
        "precision": "fp32",
    }


def _missing_epochs(
    out: str | Path,
    dataset: beton_builder.Dataset,
    run: ExpertRun,
    view: str,
    codec: str,
    wanted: list[int],
) -> list[int]:
    """The epochs that are to be dumped; nothing is touched."""
    store = labelstore.find_store(out, dataset_id=dataset.id, classes=dataset.classes)
    if store is None:
        return wanted
    try:
        have = store.view(expert_name(run), view, codec).epochs
    except (labelstore.ViewNotFound, labelstore.DamagedStore):  # what is left is made again
        return wanted
    return [epoch for epoch in wanted if epoch not in have]


def _entropy_table(view: labelstore.LabelView) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "label_entropy": float(view.entropy(epoch).mean(dtype=np.float64)),
            "cross_entropy": float(view.cross_entropy(epoch).mean(dtype=np.float64)),
            "codec_kl": view.codec_error(epoch)["kl_mean"],
            **{key: value for key, value in view.about(epoch).items() if key in _ACCURACIES},
        }
        for epoch in view.epochs
    ]


def _dump_on_rank(
    data: str,
    expert: str,
    out: str,
    image_view: ImageView,
    codec: str,
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
    teacher = Teacher(dataset, open_run(expert), image_view)
    labels = labelstore.open_store(out, dataset_id=dataset.id, classes=dataset.classes).view(
        expert_name(teacher.run), image_view.name, codec
    )
    with labels.writer(
        sorted(checkpoints),
        checkpoints,
        rank=state.process_index,
        world=state.num_processes,
        block_rows=_block_rows(dataset, teacher),
    ) as writer:
        rows = [labels.geometry.rows_of(chunk) for chunk in writer.own_chunks]
        total = sum(stop - start for start, stop in rows) * len(checkpoints)
        written = 0
        # Lazily: a chunk's disk space is reserved, and its lock taken, when its turn has come.
        for start, stop, epochs in writer.missing_blocks():
            images, classes, boxes = teacher.read(np.arange(start, stop))
            before = sum(min(last, start) - min(first, start) for first, last in rows)
            done = before * len(checkpoints) + (stop - start) * (len(checkpoints) - len(epochs))
            for epoch in epochs:
                writer.write(epoch, start, teacher.logits(epoch, images), classes, boxes)
                written += stop - start
                done += stop - start
                progress("dump labels", done, total)
        progress("dump labels", total, total)
    return {"labels": written}


def _block_rows(dataset: beton_builder.Dataset, teacher: Teacher) -> int:
    """Samples whose images are in memory at once: whole batches, the same on every machine."""
    sample = teacher.resolution**2 * dataset.channels * max(1, teacher.view.crops)
    batches = BLOCK_IMAGE_BYTES // (sample * INFERENCE_BATCH)
    return INFERENCE_BATCH * min(max(1, batches), MAX_BLOCK_ROWS // INFERENCE_BATCH)
