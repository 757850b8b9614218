"""Train an expert with one checkpoint an epoch, on one or many ranks, resumable at every epoch.

One code path for one CPU process, several, one GPU and several: Accelerate chooses the device and
averages gradients. Every global batch is the same for any number of ranks, and everything random
is keyed on (seed, epoch, batch or sample), so a resumed run continues as if never stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import beton_builder
from engine.configuration import load_configuration
from engine.errors import UsageError
from engine.models import build_model, check_model_name
from engine.records import sole_writer
from engine.training.expert_run import (
    KIND,
    check_place,
    check_same_normalisation,
    create_run,
)
from engine.training.expert_training import train_on_rank, training_indices
from engine.training.launch import Progress, check_ranks, run_ranks
from engine.training.recipe import ExpertRecipe

SMALL_IMAGE = 64


def train_expert(
    data: str | Path,
    out: str | Path,
    *,
    config: str | Path | None = None,
    model: str | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    processes: int = 1,
    overrides: Mapping[str, Any] | None = None,
    hold_out: bool = False,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train an expert on a dataset's train split; extends or resumes the run at ``out``.

    Args:
        data: a built dataset.
        out: folder of the expert run.
        config: recipe, as a YAML file or a preset's name; by default ``expert-small`` for images
            of one size up to 64 pixels, else ``expert-imagenet``.
        model, epochs, lr, hold_out: override the recipe's.
        seed: of initial weights, order and augmentation.
        processes: ranks on this machine.
        overrides: further dotted keys of the recipe.
        force: replace a run of another identity.
        dry_run: return the plan and touch nothing.

    Raises:
        ConfigurationError, UsageError, MismatchError, TrainingDiverged, RankError.
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed {seed}: expected 0 to {2**32 - 1}")
    dataset = beton_builder.open_dataset(data)
    source = config or _usual_recipe(dataset)
    recipe = resolve_recipe(
        dataset,
        source,
        model=model,
        epochs=epochs,
        lr=lr,
        hold_out=hold_out,
        overrides=overrides,
    )
    manifest = _manifest(dataset, recipe, seed)
    dataset.split("train")
    check_place(Path(out))  # before a lock lies in it
    done = _epochs_done(Path(out), manifest, force=force)
    if not done or done[-1] < recipe.epochs:
        check_ranks(processes)
        _check_batches(dataset, recipe, processes)
    if dry_run:
        plan = _plan(dataset, recipe, Path(out), manifest, processes, done)
        return {**plan, "recipe_from": str(source)}
    with sole_writer(Path(out)):
        run = create_run(Path(out), manifest, force=force)
        check_same_normalisation(run, dataset)
        done = run.epochs()
        if not done or done[-1] < recipe.epochs:
            run_ranks(
                train_on_rank, processes, progress, str(data), str(out), recipe.epochs, processes
            )
            status = "trained"
        else:
            status = "finished already"
    last = run.record(run.epochs()[-1])
    return {
        "status": status,
        "run": str(out),
        "id": run.id,
        "epochs": run.epochs()[-1],
        **last["metrics"],
        "environment": last["environment"],
    }


def _usual_recipe(dataset: beton_builder.Dataset) -> str:
    small = dataset.height is not None and dataset.height <= SMALL_IMAGE
    return "expert-small" if small else "expert-imagenet"


def resolve_recipe(
    dataset: beton_builder.Dataset,
    source: str | Path,
    *,
    model: str | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    hold_out: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> ExpertRecipe:
    """The recipe that `train_expert` follows for these options, with its resolution.

    Raises:
        ConfigurationError, UsageError: it can't be followed on this dataset.
    """
    given = {"model": model, "epochs": epochs, "lr": lr, "hold_out": hold_out or None}
    values = {key: value for key, value in given.items() if value is not None}
    recipe = load_configuration(ExpertRecipe, source, values | dict(overrides or {}))
    check_model_name(recipe.model)
    if recipe.resolution is None:
        if dataset.height is None or dataset.height != dataset.width:
            raise UsageError(
                f"the images of {dataset.path} are not all of one square size, so the recipe needs "
                "a resolution: add --set resolution=64 (or 224)"
            )
        recipe = recipe.model_copy(update={"resolution": dataset.height})
    if dataset.whitening_id and recipe.resolution != dataset.height:
        raise UsageError(
            f"{dataset.path} is whitened at {dataset.width} × {dataset.height} pixels, and the "
            f"recipe asks for {recipe.resolution}: leave resolution out, or build the dataset with "
            "another --normalisation"
        )
    if recipe.augmentation == "random-resized-crop" and (
        dataset.height == dataset.width == recipe.resolution
    ):
        raise UsageError(
            f"the images of {dataset.path} are stored at {recipe.resolution} × "
            f"{recipe.resolution}, so there is nothing to crop at random: add "
            "--set augmentation=dsa, or a smaller --set resolution"
        )
    return recipe


def _manifest(dataset: beton_builder.Dataset, recipe: ExpertRecipe, seed: int) -> dict[str, Any]:
    return {
        "kind": KIND,
        "format": 1,
        "parents": [dataset.id],
        "dataset": {
            "id": dataset.id,
            "name": dataset.name,
            "classes": list(dataset.classes),
            "channels": dataset.channels,
            "mean": list(dataset.mean),
            "std": list(dataset.std),
            **({"whitening": dataset.whitening_id} if dataset.whitening_id else {}),
        },
        "recipe": recipe.identity(),
        "seed": seed,
        "versions": {"torch": str(torch.__version__), "numpy": np.__version__},
    }


def _check_batches(dataset: beton_builder.Dataset, recipe: ExpertRecipe, processes: int) -> None:
    """Every rank needs at least one image of every batch, the partial last one included."""
    total = len(training_indices(dataset, recipe.identity()))
    smallest = total % recipe.batch_size or min(total, recipe.batch_size)
    if smallest < processes:
        raise UsageError(
            f"the smallest batch of an epoch has {smallest} images, fewer than --processes "
            f"{processes}; use fewer processes or another --set batch_size"
        )


def _epochs_done(out: Path, manifest: dict[str, Any], *, force: bool) -> list[int]:
    """What of this run lies there. Raises MismatchError where another run lies there."""
    if force or not (out / "manifest.json").exists():
        return []
    return create_run(out, manifest, force=False).epochs()


def _plan(
    dataset: beton_builder.Dataset,
    recipe: ExpertRecipe,
    out: Path,
    manifest: dict[str, Any],
    processes: int,
    done: Sequence[int],
) -> dict[str, Any]:
    model = build_model(
        recipe.model,
        num_classes=dataset.num_classes,
        channels=dataset.channels,
        resolution=recipe.resolution or 0,
        init_seed=0,
    )
    parameters = sum(p.numel() for p in model.parameters())
    remaining = max(0, recipe.epochs - (done[-1] if done else -1))
    return {
        "plan": "train-expert",
        "out": str(out),
        "dataset": manifest["dataset"]["name"],
        "recipe": recipe.model_dump(mode="json"),
        "seed": manifest["seed"],
        "processes": processes,
        "parameters": parameters,
        "images_per_epoch": len(training_indices(dataset, manifest["recipe"])),
        "epochs_done": done[-1] if done else None,
        "checkpoint_bytes": remaining * parameters * 4,
    }
