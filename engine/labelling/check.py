"""Prove on a sample of rows that row i of a store describes image i.

Labels are computed again, from images and checkpoints, and compared with the stored ones. What
differs by more than rounding can explain is reported as damage.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import beton_builder
import labelstore
from engine.errors import MismatchError
from engine.labelling.teacher import Teacher
from engine.labelling.views import parse_view
from engine.training.expert_run import check_same_normalisation, open_run
from engine.training.launch import Progress, no_progress

SAMPLES = 64
EPOCHS = 4
# Another batch size, thread count or compiler changes fp32 logits in their last digits.
RELATIVE_SLACK = 2e-3
ABSOLUTE_SLACK = 2e-3


def check_labels(
    store: str | Path,
    data: str | Path,
    expert: str | Path,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compute labels again and compare them with the stored ones of every view of this expert.

    ``samples``: how many are drawn (seeded) for each of up to 4 complete epochs of a view, the
    first and the last among them. Returns {"ok", "recomputed": number of labels, "problems",
    "largest_difference": of a logit}. Raises MismatchError where store, dataset and run do not
    belong together.
    """
    progress = progress or no_progress
    dataset = beton_builder.open_dataset(data)
    run = open_run(expert)
    opened = labelstore.open_store(store, dataset_id=dataset.id, classes=dataset.classes)
    check_same_normalisation(run, dataset)
    views = [
        opened.view(*names, codec)
        for names in opened.views()
        for codec in opened.codecs(*names)
        if opened.view(*names, codec).identity.get("run_id") == run.id
    ]
    if not views:
        raise MismatchError(
            f"{store} holds no labels of expert run {run.id} ({run.path}); give the --expert whose "
            "labels it holds, as `engine info` on the store shows"
        )
    rng = np.random.default_rng(seed)
    work = [(view, epoch) for view in views for epoch in _spread(view.epochs)]
    problems: list[str] = []
    largest = 0.0
    for done, (view, epoch) in enumerate(work):
        progress("recompute labels", done, len(work))
        ids = np.sort(rng.choice(opened.num_samples, min(samples, opened.num_samples), False))
        computed, boxes = _labels_again(dataset, run, view, epoch, ids)
        difference, allowed = _differences(view.read(epoch, ids), computed, view.codec)
        largest = max(largest, float(difference.max()))
        wrong = (difference > allowed).reshape(len(ids), -1).any(axis=1)
        if view.crops:
            wrong |= (view.crop_boxes(epoch, ids) != boxes).reshape(len(ids), -1).any(axis=1)
        if wrong.any():
            problems.append(
                f"{view.folder}: {int(wrong.sum())} of {len(ids)} labels computed again for epoch "
                f"{epoch} differ from the stored ones, first that of sample "
                f"{ids[np.argmax(wrong)]} (by up to {float(difference.max()):.3g}); these labels "
                "are not of these images: dump them again into another --out"
            )
    progress("recompute labels", len(work), len(work))
    return {
        "ok": not problems,
        "recomputed": sum(min(samples, opened.num_samples) for _ in work),
        "largest_difference": largest,
        "problems": problems,
    }


def _differences(
    stored: npt.NDArray[np.float16], computed: npt.NDArray[np.float32], codec: str
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """How far the logits (…, k) are apart that the codec keeps, and how far they may be.

    Of ``topk:K`` these are K logits a row, of ``quantised:BITS`` also how far the grid's lines lie
    apart in that row: another row's error must not hide that labels are of other images.
    """
    family, _, number = codec.partition(":")
    if family == "topk":  # the others' mass is spread evenly, so that none is larger than these
        kept = np.argpartition(-stored, int(number) - 1, axis=-1)[..., : int(number)]
        stored = np.take_along_axis(stored, kept, axis=-1)
        computed = np.take_along_axis(computed, kept, axis=-1)
    allowed = ABSOLUTE_SLACK + RELATIVE_SLACK * np.abs(computed)
    if family == "quantised":
        low, high = computed.min(axis=-1, keepdims=True), computed.max(axis=-1, keepdims=True)
        # The grid begins at the minimum rounded down and ends at the maximum rounded up.
        rounding = np.spacing(np.maximum(-low, high).astype(np.float16)).astype(np.float32)
        spread = high - low + 2 * rounding
        allowed += spread / (2 ** int(number) - 1) / 2  # the nearest line is taken
    return np.abs(stored.astype(np.float32) - computed), allowed


def _spread(epochs: tuple[int, ...]) -> list[int]:
    """Up to ``EPOCHS`` of them, evenly spread, ends included."""
    places = np.linspace(0, len(epochs) - 1, min(EPOCHS, len(epochs))).round().astype(int)
    return [epochs[place] for place in np.unique(places)] if epochs else []


def _labels_again(
    dataset: beton_builder.Dataset,
    run: Any,
    view: labelstore.LabelView,
    epoch: int,
    ids: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint16] | None]:
    crop_seed = view.identity["transform"].get("crop_seed", 0)
    teacher = Teacher(dataset, run, parse_view(view.name, crop_seed))
    images, _, boxes = teacher.read(ids)
    return teacher.logits(epoch, images), boxes
