"""Which expert epoch learned labels resemble: measures of likeness, each with its best epoch.

In: a folder of learned labels and a label store with some epochs of an expert. Out: a row an epoch,
and for each measure the best-matching epoch with a bootstrap interval over images (what other
images of these classes might have shown; another learning run is not part of it).

n images, k classes, e epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

import labelstore
from engine.errors import ArtefactError
from engine.experiments.learned_labels.folder import COMPARISON, open_folder
from engine.experiments.learned_labels.reading import Learned, entropy_of, read_learned
from engine.records import sole_writer, write_record

LEAST = 1e-26  # a probability of 0, which truncated labels have, counts as this in a divergence
RESAMPLES = 500
LIKENESS = {
    "rank_correlation": 1,
    "kl_expert_learned": -1,
    "kl_learned_expert": -1,
    "similarity_cosine": 1,
}
"""Measures, and whether more (1) or less (-1) of it is more alike."""

Probabilities = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


def rank_correlations(
    first_nk: Probabilities, second_nk: Probabilities, labels: npt.NDArray[np.int64]
) -> Floats:
    """Spearman's rank correlation of each image's classes other than the true one, (n,).

    Equal probabilities share their mean rank. NaN where all of a row's are equal.
    """
    n, k = first_nk.shape
    others = np.arange(k)[None] != labels[:, None]
    ranks = [rankdata(p[others].reshape(n, k - 1), axis=1) for p in (first_nk, second_nk)]
    first, second = (r - r.mean(axis=1, keepdims=True) for r in ranks)
    with np.errstate(invalid="ignore"):
        found: Floats = (first * second).sum(axis=1) / np.sqrt(
            (first**2).sum(axis=1) * (second**2).sum(axis=1)
        )
    return found


def divergences(from_nk: Probabilities, to_nk: Probabilities) -> Floats:
    """Kullback-Leibler divergence KL(from ‖ to) of each row, in nats, (n,)."""
    p, q = (np.maximum(rows.astype(np.float64), LEAST) for rows in (from_nk, to_nk))
    divergence: Floats = (p * (np.log(p) - np.log(q))).sum(axis=1)
    return divergence


def class_similarity(
    probabilities_nk: Probabilities,
    labels: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64] | None = None,
) -> Floats:
    """Row c: the mean label of class c's images, without c's own entry: (k, k), diagonal 0.

    ``counts``: how often each image counts, once by default. Classes without an image have zeros.
    """
    k = probabilities_nk.shape[1]
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    weights = np.ones(len(labels)) if counts is None else counts[order].astype(np.float64)
    sums = np.add.reduceat(probabilities_nk[order] * weights[:, None], starts, axis=0)
    per_class = np.add.reduceat(weights, starts)
    means: Floats = np.zeros((k, k))
    means[present] = sums / np.maximum(per_class, 1)[:, None]
    np.fill_diagonal(means, 0)
    return means


def cosine(first: Floats, second: Floats) -> float:
    """Cosine of two matrices, taken as long vectors; NaN if one is zero."""
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float((first * second).sum()) / norms if norms else float("nan")


def compare_labels(
    expert_enk: Mapping[int, Probabilities],
    learned_nk: Probabilities,
    labels: npt.NDArray[np.int64],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Hold learned labels against every epoch of an expert.

    Args:
        expert_enk: epoch → probabilities (n, k) of the same images.
        learned_nk: the learned probabilities.
        labels: (n,) true classes.
        seed: of the bootstrap.
        resamples: draws of the bootstrap.

    Returns:
        ``table``: a row an epoch with the means of all measures and both entropies, and
        ``intervals`` (95 %) of the measures; ``best``: a row a measure with the epoch that is most
        alike, the range ``low`` to ``high`` of 95 % of the draws' best epochs, and ``share``, how
        many of the draws had this very epoch. None where a measure is undefined.
    """
    epochs, n = sorted(expert_enk), len(labels)
    rng = np.random.default_rng(seed)
    draws_rn = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    values: dict[str, list[float]] = {name: [] for name in LIKENESS}
    drawn: dict[str, list[Floats]] = {name: [] for name in LIKENESS}
    cosines_re = _similarity_cosines(expert_enk, learned_nk, labels, draws_rn)
    for place, epoch in enumerate(epochs):
        expert_nk = expert_enk[epoch]
        of_images = {
            "rank_correlation": rank_correlations(expert_nk, learned_nk, labels),
            "kl_expert_learned": divergences(expert_nk, learned_nk),
            "kl_learned_expert": divergences(learned_nk, expert_nk),
        }
        for name, per_image in of_images.items():
            known = np.isfinite(per_image)
            weights = draws_rn[:, known].sum(axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                drawn[name].append(draws_rn[:, known] @ per_image[known] / weights)
            values[name].append(float(per_image[known].mean()) if known.any() else float("nan"))
        values["similarity_cosine"].append(float(cosines_re[0, place]))
        drawn["similarity_cosine"].append(cosines_re[1:, place])
    learned_entropy = float(entropy_of(learned_nk).mean())
    table = [
        {
            "epoch": epoch,
            **{name: _known(values[name][place]) for name in LIKENESS},
            "expert_entropy": float(entropy_of(expert_enk[epoch]).mean()),
            "learned_entropy": learned_entropy,
            "intervals": {name: _interval(drawn[name][place]) for name in LIKENESS},
        }
        for place, epoch in enumerate(epochs)
    ]
    best = [
        _best_epoch(name, epochs, np.array(values[name]), np.array(drawn[name]))
        for name in LIKENESS
    ]
    return {"table": table, "best": best}


def _similarity_cosines(
    expert_enk: Mapping[int, Probabilities],
    learned_nk: Probabilities,
    labels: npt.NDArray[np.int64],
    draws_rn: npt.NDArray[np.int64],
) -> Floats:
    """Cosine of learned and expert class similarity: a row for all images, then one a draw."""
    rows = []
    for counts in (None, *draws_rn):  # one draw's matrices (k, k) at a time
        learned_kk = class_similarity(learned_nk, labels, counts)
        rows.append(
            [
                cosine(class_similarity(expert_enk[epoch], labels, counts), learned_kk)
                for epoch in sorted(expert_enk)
            ]
        )
    return np.array(rows)


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _interval(draws: Floats) -> list[float] | None:
    if not np.isfinite(draws).all():
        return None
    low, high = np.quantile(draws, [0.025, 0.975])
    return [float(low), float(high)]


def _best_epoch(name: str, epochs: list[int], values_e: Floats, draws_er: Floats) -> dict[str, Any]:
    nothing = {"measure": name, "epoch": None, "low": None, "high": None, "share": None}
    if not (np.isfinite(values_e).all() and np.isfinite(draws_er).all()):
        return nothing
    sign = LIKENESS[name]
    best = epochs[int((sign * values_e).argmax())]
    drawn = np.array(epochs)[(sign * draws_er).argmax(axis=0)]
    low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
    share = float((drawn == best).mean())
    return {"measure": name, "epoch": best, "low": int(low), "high": int(high), "share": share}


def compare_with_expert(
    learned: str | Path,
    store: str | Path,
    *,
    expert: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Compare learned labels with every epoch that a store has of an expert; keeps the result.

    The same comparison is not made twice.

    Args:
        learned: a finished folder of `learn_labels`; its ``comparison.json`` is written.
        store: a label store of the same dataset.
        expert: its name inside the store, needed where there are several.
        seed, resamples: of the bootstrap over images.

    Raises:
        ArtefactError: learning was not finished, or the store has no complete epoch.
        labelstore.LabelStoreError: the store belongs to another dataset.
    """
    path = Path(learned)
    of = read_learned(path)
    dataset = of.manifest["dataset"]
    opened = labelstore.open_store(store, dataset_id=dataset["id"], classes=dataset["classes"])
    view = opened.view(expert)
    if not view.epochs:
        raise ArtefactError(
            f"{store} has no complete epoch of {view.expert}: finish it with "
            f"`{view.dump_command([1])}`"
        )
    about = {
        "expert": view.expert,
        "view": view.name,
        "view_id": view.id,
        "codec": view.codec,
        "checkpoints": {str(epoch): view.checkpoint_id(epoch) for epoch in view.epochs},
        "ipc": of.ipc,
        "images": len(of.ids),
        "step": of.step,
        "bootstrap": {"seed": seed, "resamples": resamples, "over": "images"},
    }
    found = next((e for e in of.comparisons if {**e, **about} == e), None)
    if found is None:
        found = _compared(of, view, seed=seed, resamples=resamples)
        with sole_writer(path):
            folder = open_folder(path)
            others = [e for e in folder.comparisons() if e["view_id"] != view.id]
            record = {"id": folder.id, "comparisons": [*others, about | found]}
            write_record(path / COMPARISON, record)
    shown = [{k: v for k, v in row.items() if k != "intervals"} for row in found["table"]]
    return {
        "learned": str(path),
        "expert": view.expert,
        "ipc": of.ipc,
        "table": shown,
        "best_matching_epoch": found["best"],
    }


def _compared(
    learned: Learned, view: labelstore.LabelView, *, seed: int, resamples: int
) -> dict[str, Any]:
    found = compare_labels(
        {epoch: view.probabilities(epoch, learned.ids) for epoch in view.epochs},
        learned.probabilities_nk,
        learned.labels,
        seed=seed,
        resamples=resamples,
    )
    for row in found["table"]:
        row["expert_test_accuracy"] = view.about(row["epoch"]).get("test_accuracy")
    return found
