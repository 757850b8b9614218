"""What the numbers of images and labels mean: guessed and said, or refused, never in silence."""

from __future__ import annotations

import numpy as np
import pytest
from distilled_cases import normalised
from hypothesis import given
from hypothesis import strategies as st

from engine.distilled import open_distilled
from engine.distilled.pixels import understand_values
from engine.errors import ArtefactError, MismatchError, UsageError


def test_unit_floats_stay_floats(tmp_path, dataset, pixels) -> None:
    unit = (pixels.images_nhwc / 255).astype(np.float32)
    np.savez(tmp_path / "set.npz", images=unit, labels=pixels.classes_n)
    found = open_distilled(tmp_path / "set.npz", dataset=dataset)
    assert (found.scale, found.normalised) == ("unit", False)
    assert np.array_equal(found.images_nchw.numpy(), unit.transpose(0, 3, 1, 2))
    said = open_distilled(tmp_path / "set.npz", dataset=dataset, images="normalised")
    assert said.normalised
    assert not said.findings
    np.savez(tmp_path / "negative.npz", images=unit - 1, labels=pixels.classes_n)
    with pytest.raises(UsageError, match="which images 'bytes' can't be"):
        open_distilled(tmp_path / "negative.npz", dataset=dataset, images="bytes")


def test_what_could_mean_several_things_is_refused(tmp_path, dataset, pixels) -> None:
    odd = pixels.images_nhwc / 3.0  # neither bytes, nor within 0..1, nor negative anywhere
    np.savez(tmp_path / "set.npz", images=odd, labels=pixels.classes_n)
    with pytest.raises(ArtefactError, match="--images bytes"):
        open_distilled(tmp_path / "set.npz", dataset=dataset)
    found = open_distilled(tmp_path / "set.npz", dataset=dataset, images="bytes")
    assert found.scale == "unit"
    np.testing.assert_allclose(
        found.images_nchw.numpy(), (odd / 255).transpose(0, 3, 1, 2), rtol=1e-6
    )


def test_one_hot_rows_are_hard_labels(tmp_path, dataset, pixels) -> None:
    rows = np.eye(3, dtype=np.float32)[pixels.classes_n]
    np.savez(tmp_path / "set.npz", images=pixels.images_nhwc, labels=rows)
    found = open_distilled(tmp_path / "set.npz", dataset=dataset)
    assert found.label_kind == "hard"
    assert np.array_equal(found.targets_nk, rows)
    assert [(each.about, each.taken_as) for each in found.findings] == [("labels", "hard")]
    said = open_distilled(tmp_path / "set.npz", dataset=dataset, label_kind="probabilities")
    assert (said.label_kind, said.id) == ("probabilities", found.id)
    rows[0] = (0.5, 0.5, 0)
    np.savez(tmp_path / "soft.npz", images=pixels.images_nhwc, labels=rows)
    assert open_distilled(tmp_path / "soft.npz", dataset=dataset).label_kind == "probabilities"


def test_one_hot_rows_that_contradict_the_classes_are_said(tmp_path, dataset, pixels) -> None:
    rows = np.eye(3, dtype=np.float32)[(pixels.classes_n + 1) % 3]
    arrays = {"images": pixels.images_nhwc, "labels": pixels.classes_n, "soft_labels": rows}
    np.savez(tmp_path / "set.npz", **arrays)
    found = open_distilled(tmp_path / "set.npz", dataset=dataset)
    assert found.label_kind == "probabilities"
    assert "order of soft labels" in {each.about for each in found.findings}


@given(
    low=st.floats(-30, 300, allow_nan=False),
    width=st.floats(0, 300, allow_nan=False),
    whole=st.booleans(),
)
def test_a_guess_is_one_that_saying_it_would_allow(low: float, width: float, whole: bool) -> None:
    """Whatever is guessed could have been said, with the same result."""
    values = np.linspace(low, low + width, 48).reshape(1, 3, 4, 4)
    array = np.rint(values) if whole else values
    try:
        guessed, scale, finding = understand_values(array, "auto", "here")
    except ArtefactError:
        return
    assert finding is not None
    said, same, silent = understand_values(array, finding.taken_as, "here")
    assert (same, silent) == (scale, None)
    assert np.array_equal(said, guessed)


def test_values_from_minus_one_to_one_are_not_taken_for_normalised(
    tmp_path, dataset, pixels
) -> None:
    scaled = (pixels.images_nhwc / 127.5 - 1).astype(np.float32)
    np.savez(tmp_path / "set.npz", images=scaled, labels=pixels.classes_n)
    with pytest.raises(ArtefactError, match="-1 to 1, has to be converted first"):
        open_distilled(tmp_path / "set.npz", dataset=dataset)
    assert open_distilled(tmp_path / "set.npz", dataset=dataset, images="normalised").normalised


def test_rows_of_colour_pixels_say_how_they_were_taken(tmp_path, dataset, pixels) -> None:
    rows = pixels.images_nhwc.transpose(0, 3, 1, 2).reshape(6, -1)
    np.savez(tmp_path / "set.npz", images=rows, labels=pixels.classes_n)
    found = open_distilled(tmp_path / "set.npz", dataset=dataset)
    assert [finding.about for finding in found.findings] == ["rows of pixels"]


def test_soft_labels_that_contradict_the_classes_are_said(tmp_path, dataset, pixels) -> None:
    sure = np.eye(3, dtype=np.float32)[pixels.classes_n]
    for name, labels in (("right", sure), ("turned", sure[:, [1, 2, 0]])):
        np.savez(
            tmp_path / f"{name}.npz",
            images=pixels.images_nhwc,
            labels=pixels.classes_n,
            probs=labels,
        )
    assert not open_distilled(tmp_path / "right.npz", dataset=dataset).findings
    (finding,) = open_distilled(tmp_path / "turned.npz", dataset=dataset).findings
    assert finding.about == "order of soft labels"
    assert "0 of 6" in finding.because


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused_with_its_image(tmp_path, dataset, pixels, bad: float) -> None:
    images = normalised(pixels.images_nhwc, dataset.mean, dataset.std)
    images[4, 1, 2, 3] = bad
    np.savez(tmp_path / "set.npz", images=images, labels=pixels.classes_n)
    with pytest.raises(ArtefactError, match="image 4 has NaN"):
        open_distilled(tmp_path / "set.npz", dataset=dataset)
    labels = pixels.soft_nk.copy()
    labels[3, 0] = bad
    np.savez(tmp_path / "set.npz", images=pixels.images_nhwc, labels=labels)
    with pytest.raises(ArtefactError, match="label of image 3"):
        open_distilled(tmp_path / "set.npz", dataset=dataset)


def test_another_number_of_classes_is_refused(tmp_path, dataset, pixels) -> None:
    np.savez(tmp_path / "set.npz", images=pixels.images_nhwc, soft_labels=pixels.soft_nk[:, :2])
    with pytest.raises(MismatchError, match="2 columns, and the dataset has 3"):
        open_distilled(tmp_path / "set.npz", dataset=dataset)
    rows = pixels.soft_nk * 1.5
    np.savez(tmp_path / "set.npz", images=pixels.images_nhwc, soft_labels=rows)
    with pytest.raises(UsageError, match=r"sums to 1\.5.*logits, or weights"):
        open_distilled(tmp_path / "set.npz", dataset=dataset, label_kind="probabilities")


def test_nothing_at_all_is_refused(tmp_path, dataset, pixels) -> None:
    for labels in (pixels.classes_n[:0], pixels.soft_nk[:0]):
        np.savez(tmp_path / "set.npz", images=pixels.images_nhwc[:0], labels=labels)
        for of in (dataset, None):
            with pytest.raises(ArtefactError, match="there is no label in it"):
                open_distilled(tmp_path / "set.npz", dataset=of)
