"""Soft labels without any learning: how alike classes are, measured in the images themselves.

In: a dataset and how much entropy its labels shall have. Out: logits of every train image in a
label store, where sweeps find them like those of an expert. The label of image i is the softmax of
-‖x_i - mean of class c‖² / τ over classes c, mixed with as much of its true class as puts that on
top; τ is found by bisection. x are pixels (``class-mean-images``) or what an untrained network
makes of them before its last layer (``random-features``). Class means leave validation out.

Images are read in blocks; of the distances, (n, k) float32, as many are held as 256 MB take.

n images, k classes, d features.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import beton_builder
import labelstore
from engine.errors import UsageError
from engine.experiments.learned_labels.problem import student_candidates
from engine.experiments.learned_labels.reading import entropy_of
from engine.loading import load_resident
from engine.models import build_model
from engine.records import content_id
from engine.training.precision import choose_arithmetic, keep_freed_memory
from engine.training.progress import Progress, no_progress
from engine.training.step import Normaliser

METHODS = ("class-mean-images", "random-features")
BLOCK = 1_000
DISTANCE_BYTES = 2**28
LEAD = 1.1  # the true class's probability over the next largest, at least
BISECTIONS = 60

Distances = npt.NDArray[np.float32]


def similarity_labels(
    distances_nk: Distances, labels: npt.NDArray[np.int64], temperature: float
) -> npt.NDArray[np.float64]:
    """softmax(-distance / temperature), mixed with the true class until that leads: (n, k).

    A row where it leads by a factor of 1.1 already stays as it is.
    """
    scaled = distances_nk.astype(np.float64) / -temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    p = powers / powers.sum(axis=1, keepdims=True)
    rows = np.arange(len(p))
    true = p[rows, labels]
    others = p.copy()
    others[rows, labels] = 0
    lead = LEAD * others.max(axis=1)
    # (1 - a) p_true + a = (1 - a) lead, solved for the share a.
    behind = np.maximum(0, lead - true)
    share = behind / (1 + behind)
    p *= (1 - share)[:, None]
    p[rows, labels] += share
    return p


def temperature_of_entropy(
    distances_nk: Distances, labels: npt.NDArray[np.int64], nats: float
) -> float:
    """The temperature at which :func:`similarity_labels` have a mean entropy of ``nats``.

    Raises:
        UsageError: no temperature gives that; says which entropies there are.
    """

    def entropy(logarithm: float) -> float:
        p = similarity_labels(distances_nk, labels, float(np.exp(logarithm)))
        return float(entropy_of(p).mean())

    scale = float(np.std(distances_nk)) or 1.0
    low, high = np.log(scale) - 12, np.log(scale) + 12
    least, most = entropy(low), entropy(high)
    if not least < nats < most:
        raise UsageError(
            f"--entropy {nats:g}: these labels can have {least:.2f} to {most:.2f} nats (where the "
            "true class is not the nearest one, even the sharpest label has some)"
        )
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if entropy(middle) < nats:
            low = middle
        else:
            high = middle
        if high - low < 1e-6:
            break
    return float(np.exp((low + high) / 2))


class ClassDistances:
    """Squared distances of images to the mean of each class, in pixels or in random features."""

    def __init__(
        self,
        dataset: beton_builder.Dataset,
        method: str,
        *,
        model: str,
        resolution: int,
        seed: int,
        progress: Progress,
    ) -> None:
        self.dataset = dataset
        self.resolution = resolution
        device = choose_arithmetic("fp32", compiled=False).device
        self.normalise = Normaliser(dataset.mean, dataset.std, device, dataset.whitening())
        self.features: nn.Module | None = None
        if method == "random-features":
            self.features = _headless(
                build_model(
                    model,
                    num_classes=dataset.num_classes,
                    channels=dataset.channels,
                    resolution=resolution,
                    init_seed=zlib.crc32(f"random-features {seed}".encode()),
                ),
                model,
            ).to(device)
        self.labels, candidates = student_candidates(dataset)
        self.means_kd = self._class_means(candidates, progress)

    def __call__(self, ids: npt.NDArray[np.int64]) -> Distances:
        """Squared distances (n, k), less what is the same for all classes of an image."""
        features_nd = self._read(ids)
        squares_k = (self.means_kd**2).sum(1)
        return (squares_k - 2 * features_nd @ self.means_kd.T).cpu().numpy()

    @torch.no_grad()
    def _read(self, ids: npt.NDArray[np.int64]) -> Tensor:
        block = load_resident(self.dataset, "train", indices=ids, resolution=self.resolution)
        images = self.normalise(block.images)
        return (images if self.features is None else self.features(images)).flatten(1)

    def _class_means(self, candidates: npt.NDArray[np.int64], progress: Progress) -> Tensor:
        sums: Tensor | None = None
        for start in range(0, len(candidates), BLOCK):
            ids = candidates[start : start + BLOCK]
            features_nd = self._read(ids).double()
            if sums is None:
                shape = self.dataset.num_classes, features_nd.shape[1]
                sums = torch.zeros(shape, dtype=torch.float64, device=features_nd.device)
            sums.index_add_(0, torch.from_numpy(self.labels[ids]).to(sums.device), features_nd)
            progress("mean of each class", start + len(ids), len(candidates))
        assert sums is not None
        counts = np.bincount(self.labels[candidates], minlength=len(sums))
        return (sums / torch.from_numpy(counts).to(sums.device)[:, None]).float()


def _headless(model: nn.Module, name: str) -> nn.Module:
    """The network without its last linear layer, in the mode in which labels are made."""
    layers = [(at, layer) for at, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise UsageError(f"{name} has no linear layer to take off; choose --model convnet-d3")
    at, _ = layers[-1]
    parent, _, last = at.rpartition(".")
    setattr(model.get_submodule(parent), last, nn.Identity())
    return model.eval()


def derive_labels(
    data: str | Path,
    out: str | Path,
    *,
    method: str = "class-mean-images",
    entropies: Sequence[float] = (3.0,),
    expert: str | None = None,
    model: str = "convnet-d3",
    resolution: int | None = None,
    seed: int = 0,
    codec: str = "dense",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write labels that know of no expert into a label store, an epoch for every entropy.

    Args:
        data: a built dataset.
        out: the store, created where it is missing, else extended.
        method: ``class-mean-images`` or ``random-features``.
        entropies: mean entropies in nats; one of 3.25 becomes epoch 325 (hundredths of a nat), so
            that a sweep over ``--expert-epochs`` is one over entropies.
        expert: their teacher's name inside the store; by default the method's.
        model, seed: of ``random-features``: the untrained network and its weights.
        resolution: of images that differ in size.
        codec: how labels are stored.
        dry_run: return the plan and touch nothing.

    Raises:
        UsageError: another method, or an entropy that can't be had.
        labelstore.LabelStoreError: the store belongs to another dataset, or refuses the labels.
    """
    if method not in METHODS:
        raise UsageError(f"--method {method}: expected {' or '.join(METHODS)}")
    progress = progress or no_progress
    dataset = beton_builder.open_dataset(data)
    side = resolution or (dataset.height if dataset.height == dataset.width else None)
    if side is None:
        raise UsageError(
            f"the images of {dataset.path} are not all of one square size: add --resolution 64"
        )
    expert = expert or (method if method == "class-mean-images" else f"{method}-seed{seed}")
    wanted = {epoch_of(nats): float(nats) for nats in sorted(set(entropies))}
    num_samples = dataset.split("train").num_samples
    plan = {"out": str(out), "expert": expert, "method": method, "codec": codec}
    if dry_run:
        size = labelstore.bytes_per_sample(dataset.num_classes, codec) * num_samples
        epochs = list(wanted)
        return {"plan": "derive-labels", **plan, "epochs": epochs, "bytes": size * len(epochs)}
    keep_freed_memory()
    distances = ClassDistances(
        dataset, method, model=model, resolution=side, seed=seed, progress=progress
    )
    sample = _sample(num_samples, dataset.num_classes)
    held_nk = _distances_of(distances, sample, progress)
    table = []
    for epoch, nats in wanted.items():
        temperature = temperature_of_entropy(held_nk, distances.labels[sample], nats)

        def teacher(ids: npt.NDArray[np.int64], at: float = temperature) -> npt.NDArray[Any]:
            rows = held_nk[ids] if len(sample) == num_samples else distances(ids)
            return np.log(np.maximum(similarity_labels(rows, distances.labels[ids], at), 1e-26))

        rule = {"dataset": dataset.id, "method": method, "nats": nats, "temperature": temperature}
        rule |= {"normalisation": [dataset.mean, dataset.std, dataset.whitening_id]}
        rule |= {"model": model, "seed": seed} if method == "random-features" else {}
        found = labelstore.import_labels(
            out,
            teacher,
            dataset_id=dataset.id,
            classes=dataset.classes,
            labels=distances.labels,
            expert=expert,
            epoch=epoch,
            values="logits",
            checkpoint_id=f"{method}-{nats:.2f}-nats-{content_id(rule)}",
            codec=codec,
            progress=functools.partial(_staged, progress, epoch),
        )
        table.append(
            {
                "epoch": epoch,
                "mean_entropy": found["mean_entropy"],
                "cross_entropy": found["mean_cross_entropy"],
                "temperature": temperature,
                "status": found["status"],
            }
        )
    fresh = any(row["status"] != "finished already" for row in table)
    return {
        "status": "derived" if fresh else "finished already",
        **plan,
        "knowledge": "none of an expert: images and hard labels of the train split alone",
        "samples": num_samples,
        "table": table,
    }


def epoch_of(nats: float) -> int:
    """The epoch under which labels of so many nats lie in a store: 3.25 → 325."""
    if not 0 < nats < 100 or abs(round(100 * nats) / 100 - nats) > 1e-9:
        raise UsageError(f"--entropy {nats:g}: expected nats in hundredths, such as 3 or 3.25")
    return round(100 * nats)


def _sample(num_samples: int, num_classes: int) -> npt.NDArray[np.int64]:
    """All images, or as many random ones as their distances may take in memory."""
    most = max(1, DISTANCE_BYTES // (4 * num_classes))
    if num_samples <= most:
        return np.arange(num_samples)
    return np.sort(np.random.default_rng(0).choice(num_samples, most, replace=False))


def _distances_of(
    distances: ClassDistances, ids: npt.NDArray[np.int64], progress: Progress
) -> Distances:
    blocks = []
    for start in range(0, len(ids), BLOCK):
        blocks.append(distances(ids[start : start + BLOCK]))
        progress("distances to classes", start + len(blocks[-1]), len(ids))
    return np.concatenate(blocks)


def _staged(progress: Progress, epoch: int, _stage: str, done: int, total: int) -> None:
    progress(f"write labels of {epoch / 100:g} nats", done, total)
