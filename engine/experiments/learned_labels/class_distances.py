"""How near images are to the mean image of each class, and soft labels that follow from it.

In: a dataset. Out: squared distances of any of its train images, in pixels or in the features of an
untrained network; and for a temperature the labels of these images. Images are read in blocks.

n images, k classes, d features.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import beton_builder
from engine.errors import UsageError
from engine.experiments.learned_labels.problem import student_candidates
from engine.experiments.learned_labels.reading import entropy_of
from engine.loading import load_resident
from engine.models import build_model
from engine.training.precision import choose_arithmetic
from engine.training.progress import Progress
from engine.training.step import Normaliser

METHODS = ("class-mean-images", "random-features")
BLOCK = 1_000
DISTANCE_BYTES = 2**28  # within it, the distances of all images are kept from epoch to epoch
TEMPERATURE_ROWS = 20_000  # images that a temperature is chosen on, at most
LEAD = 1.1  # the true class's probability over the next largest, at least
BISECTIONS = 60
LEAST = 1e-26

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
        total, temperature = 0.0, float(np.exp(logarithm))
        for start in range(0, len(labels), BLOCK):  # float64 copies of a block, not of all
            rows = slice(start, start + BLOCK)
            p = similarity_labels(distances_nk[rows], labels[rows], temperature)
            total += float(entropy_of(p).sum())
        return total / len(labels)

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


class SimilarityTeacher:
    """Labels of any temperature, by the distances of all images or, where these are too many to be
    kept, of a random sample that temperatures are chosen on."""

    def __init__(self, distances: ClassDistances, progress: Progress) -> None:
        self._distances = distances
        num_samples, row_bytes = len(distances.labels), 4 * distances.dataset.num_classes
        self._keeps_all = num_samples * row_bytes <= DISTANCE_BYTES
        most = min(TEMPERATURE_ROWS, max(1, DISTANCE_BYTES // row_bytes))
        self._sample = np.sort(np.random.default_rng(0).permutation(num_samples)[:most])
        kept = np.arange(num_samples) if self._keeps_all else self._sample
        self._kept_nk = self._read(kept, progress)

    def _read(self, ids: npt.NDArray[np.int64], progress: Progress) -> Distances:
        rows_nk = np.empty((len(ids), self._distances.dataset.num_classes), np.float32)
        for start in range(0, len(ids), BLOCK):
            block = ids[start : start + BLOCK]
            rows_nk[start : start + len(block)] = self._distances(block)
            progress("distances to classes", start + len(block), len(ids))
        return rows_nk

    def temperature(self, nats: float) -> float:
        """At which labels have this mean entropy; raises UsageError where none gives it."""
        rows_nk = self._kept_nk[self._sample] if self._keeps_all else self._kept_nk
        return temperature_of_entropy(rows_nk, self._distances.labels[self._sample], nats)

    def at(self, temperature: float) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]]:
        """From sample ids (n,) to the logits (n, k) of their labels."""

        def logits(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
            rows = self._kept_nk[ids] if self._keeps_all else self._distances(ids)
            labels_nk = similarity_labels(rows, self._distances.labels[ids], temperature)
            return np.log(np.maximum(labels_nk, LEAST))

        return logits
