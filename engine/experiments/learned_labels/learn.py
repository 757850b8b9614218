"""Learn the labels of random real images by back-propagating through students' training.

The images stay as they are; their labels alone are optimised, so that a student trained on them
does well on real images with hard labels (docs/protocol.md §1, experiments). The loop outside is
Adam on logits, with a checkpoint every so many steps; a killed run goes on to the same bytes.

Measured on one core of an AMD EPYC, in seconds of its own time beside other work: a plain step of
ConvNetD3-w32 on 100 images of 32 × 32 takes 0.06 s, a differentiated one 0.26 s; an outer step with
horizon 40 and window 10 about 5 s, one with 80 and 20 on 10 images of 28 × 28 about 2 s.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import beton_builder
import labelstore
from engine.configuration import load_configuration
from engine.errors import UsageError
from engine.experiments.learned_labels.folder import LearnedFolder, check_place, create_folder
from engine.experiments.learned_labels.initial import (
    ExpertEpoch,
    find_expert_epoch,
    initial_logits,
    stored_logits,
)
from engine.experiments.learned_labels.outer_loop import OuterLoop
from engine.experiments.learned_labels.problem import LabelLearning, chosen_images
from engine.experiments.learned_labels.reading import measured_steps
from engine.experiments.learned_labels.recipe import LearnedRecipe
from engine.experiments.learned_labels.resemblance import compare_with_expert
from engine.models import build_model, check_model_name
from engine.records import sole_writer
from engine.training.precision import keep_freed_memory
from engine.training.progress import Progress, no_progress


def learn_labels(
    data: str | Path,
    out: str | Path,
    *,
    config: str | Path | None = None,
    ipc: int | None = None,
    steps: int | None = None,
    model: str | None = None,
    initial: str | None = None,
    labels: str | Path | None = None,
    expert: str | None = None,
    expert_epoch: int | None = None,
    compare: str | Path | None = None,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Learn the labels of ``ipc`` random images per class; extends or resumes what is at ``out``.

    Args:
        data: a built dataset.
        out: folder of the learned labels.
        config: a `LearnedRecipe`, as a YAML file or a preset's name.
        ipc, steps, model, initial: override the recipe's.
        labels, expert, expert_epoch: with ``initial="expert"``, whose labels to begin with.
        compare: a label store to compare the result with, every epoch of it.
        seed: of students' weights, order and augmentation, and of the outer batches.
        overrides: further dotted keys of the recipe.
        force: replace labels of another identity.
        dry_run: return the plan, with an estimate from one measured outer step; touch nothing.

    Raises:
        ConfigurationError, UsageError, MismatchError, TrainingDiverged.
        labelstore.LabelStoreError: a store that lacks what is asked of it.
    """
    dataset = beton_builder.open_dataset(data)
    given = {"ipc": ipc, "steps": steps, "model": model, "initial": initial}
    values = {key: value for key, value in given.items() if value is not None}
    recipe = _resolve(dataset, config, values | dict(overrides or {}), seed)
    ids, classes = chosen_images(dataset, recipe)
    begin = initial_logits(recipe, classes, dataset.num_classes)
    teacher: ExpertEpoch | None = None
    if recipe.initial == "expert":
        teacher, view = find_expert_epoch(dataset, labels, expert, expert_epoch)
        begin = stored_logits(view, teacher.epoch, ids)
    elif labels is not None or expert_epoch is not None:
        raise UsageError(
            "--labels and --expert-epoch are labels to begin with: add --initial expert, or name "
            "the store with --compare to compare what is learned with it"
        )
    if compare is not None:  # before hours of learning
        labelstore.open_store(compare, dataset_id=dataset.id, classes=dataset.classes).view(expert)
    manifest = _manifest(dataset, recipe, seed, teacher, ids)
    check_place(Path(out))  # before a lock lies in it
    keep_freed_memory()
    if dry_run:
        return _plan(dataset, recipe, Path(out), manifest, ids, begin, force=force)
    with sole_writer(Path(out)):
        folder = create_folder(Path(out), manifest, force=force)
        done, result = folder.steps(), folder.result()
        ready = bool(done) and result is not None and result["step"] == done[-1] >= recipe.steps
        if not ready:
            loop = OuterLoop(dataset, recipe, folder, ids, classes, begin)
            loop.run(progress or no_progress)
    status = "finished already" if ready else "learned"
    answer = {"status": status, **_summary(folder, dataset)}
    if compare is None:
        return answer
    comparison = compare_with_expert(out, compare, expert=expert)
    return answer | {key: comparison[key] for key in ("table", "best_matching_epoch")}


def _resolve(
    dataset: beton_builder.Dataset,
    config: str | Path | None,
    overrides: Mapping[str, Any],
    seed: int,
) -> LearnedRecipe:
    recipe = load_configuration(LearnedRecipe, config, overrides)
    check_model_name(recipe.model)
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed {seed}: expected 0 to {2**32 - 1}")
    if recipe.resolution is None:
        if dataset.height is None or dataset.height != dataset.width:
            raise UsageError(
                f"the images of {dataset.path} are not all of one square size, so learning needs "
                "a resolution: add --set resolution=64"
            )
        recipe = recipe.model_copy(update={"resolution": dataset.height})
    network = build_model(
        recipe.model,
        num_classes=dataset.num_classes,
        channels=dataset.channels,
        resolution=recipe.resolution or 0,
        init_seed=0,
    )
    if next(network.buffers(), None) is not None:
        raise UsageError(
            f"{recipe.model} keeps running statistics (batch norm), which the derivative through "
            "its training leaves out: choose a network without, such as --model convnet-d3"
        )
    return recipe


def _manifest(
    dataset: beton_builder.Dataset,
    recipe: LearnedRecipe,
    seed: int,
    teacher: ExpertEpoch | None,
    ids: npt.NDArray[np.int64],
) -> dict[str, Any]:
    free = recipe.knowledge_free
    knowledge = (
        "none of an expert: images and hard labels of the train split alone"
        if teacher is None
        else f"labels of {teacher.expert}, epoch {teacher.epoch}, to begin with"
    )
    return {
        "kind": "learned-labels",
        "format": 1,
        "parents": [dataset.id] + ([] if teacher is None else [teacher.checkpoint]),
        "dataset": {
            "id": dataset.id,
            "name": dataset.name,
            "classes": list(dataset.classes),
            "mean": list(dataset.mean),
            "std": list(dataset.std),
            "whitening": dataset.whitening_id,
        },
        "recipe": recipe.identity(),
        "seed": seed,
        "teacher": None if teacher is None else teacher.describe(),
        "knowledge_free": free,
        "knowledge": knowledge,
        "images": len(ids),
        "versions": {"torch": str(torch.__version__), "numpy": np.__version__},
    }


def _summary(folder: LearnedFolder, dataset: beton_builder.Dataset) -> dict[str, Any]:
    history = folder.history()
    rows = measured_steps(history)
    return {
        "learned": str(folder.path),
        "id": folder.id,
        "dataset": dataset.name,
        "knowledge": folder.manifest["knowledge"],
        "images": folder.manifest["images"],
        "steps": history[-1]["step"],
        "entropy": history[-1]["entropy"],
        "hard_validation_accuracy": history[0].get("hard_validation_accuracy"),
        "student_epochs": history[0].get("student_epochs"),
        **({"history": rows} if rows else {}),
    }


def _plan(
    dataset: beton_builder.Dataset,
    recipe: LearnedRecipe,
    out: Path,
    manifest: dict[str, Any],
    ids: npt.NDArray[np.int64],
    begin_nk: npt.NDArray[np.float32],
    *,
    force: bool,
) -> dict[str, Any]:
    done: list[int] = []
    if (out / "manifest.json").exists() and not force:
        done = create_folder(out, manifest, force=False).steps()
    problem = LabelLearning(dataset, recipe, ids)
    logits = torch.from_numpy(begin_nk)
    seconds = min(_seconds(problem, logits, step) for step in range(2))
    missing = max(0, recipe.steps - (done[-1] if done else 0))
    return {
        "plan": "learn-labels",
        "out": str(out),
        "dataset": dataset.name,
        "recipe": recipe.model_dump(mode="json"),
        "seed": manifest["seed"],
        "knowledge": manifest["knowledge"],
        "images": len(ids),
        "steps_done": done[-1] if done else None,
        "steps_missing": missing,
        "outer_step_seconds": seconds,
        "estimated_seconds": missing * seconds,
        "basis": "two measured outer steps, the shorter; held-out students not counted",
    }


def _seconds(problem: LabelLearning, logits_nk: torch.Tensor, step: int) -> float:
    """Time of an outer step, as if its student had been trained for the mean number of steps."""
    started = time.perf_counter()
    outcome = problem.outer_step(logits_nk, 0, step)
    spent = time.perf_counter() - started
    inner = problem.recipe.inner
    mean_start = (inner.horizon - inner.window) / 2
    # A step that is differentiated costs about four plain ones (measured, ConvNetD3).
    return spent * (mean_start + 4 * inner.window) / (outcome.start + 4 * inner.window)
