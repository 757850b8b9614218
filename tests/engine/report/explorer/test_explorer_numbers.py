"""What the fragment's data say is what the store holds, within the stated rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from explorer_cases import EPOCHS, build_dataset, build_store, decoded, softmax

PROBABILITY = 0.5 / 65535 + 1e-6  # the rounding, and float32 against float64


@pytest.fixture(scope="module")
def true_n(data):
    with data.split("train") as beton:
        return np.asarray(beton.labels)


def test_the_labels_of_images_are_those_of_the_store(data, store, true_n):
    found = decoded(data, store)
    ids = found["images"]
    assert found["epochs"] == list(EPOCHS)
    assert (true_n[ids] == found["labels"]).all()
    for e, epoch in enumerate(EPOCHS):
        labels = softmax(store.view().read(epoch, ids))
        order = np.argsort(-labels, axis=1)
        assert (found["top_classes"][e] == order[:, :5]).all()
        top = np.take_along_axis(labels, order[:, :5], 1)
        np.testing.assert_allclose(found["top_probabilities"][e], top, atol=PROBABILITY, rtol=0)
        own = labels[np.arange(len(ids)), true_n[ids]]
        np.testing.assert_allclose(found["true_probability"][e], own, atol=PROBABILITY, rtol=0)
        assert (found["true_rank"][e] == 1 + (labels > own[:, None]).sum(1)).all()
        entropy = -(labels * np.log(labels)).sum(1)
        rounding = 0.5 * np.log(6) / 65535 + 1e-6
        np.testing.assert_allclose(found["label_entropy"][e], entropy, atol=rounding, rtol=0)
        # The store's own was taken before the logits became float16.
        np.testing.assert_allclose(entropy, store.view().entropy(epoch, ids), atol=1e-3)


def test_a_class_mean_is_the_mean_label_of_its_images(data, store, true_n):
    found = decoded(data, store)
    for e, epoch in enumerate(EPOCHS):
        labels = softmax(store.view().read(epoch, np.arange(len(true_n))))
        means = np.stack([labels[true_n == c].mean(0) for c in found["order"]])[:, found["order"]]
        off = ~np.eye(6, dtype=bool)
        largest = found["scale"] / 254 + 1e-6
        np.testing.assert_allclose(found["class_means"][e][off], means[off], atol=largest, rtol=0)
        np.testing.assert_allclose(
            np.diagonal(found["class_means"][e]), np.diagonal(means), atol=PROBABILITY, rtol=0
        )


def test_large_classes_are_averaged_over_evenly_spaced_images(data, store, true_n):
    found = decoded(data, store, labels_per_class=3)
    labels = softmax(store.view().read(10, np.arange(len(true_n))))
    for row, c in enumerate(found["order"]):
        of_class = np.flatnonzero(true_n == c)
        own = labels[of_class[[0, 4, 8]], c].mean()
        assert abs(found["class_means"][-1, row, row] - own) < PROBABILITY


def test_the_expert_curve_holds_what_is_known_of_each_epoch(data, store):
    found = decoded(data, store)
    assert found["accuracy"] == [0.125, None, 0.5]
    means = [store.view().entropy(epoch).mean(dtype=np.float64) for epoch in EPOCHS]
    np.testing.assert_allclose(found["entropy"], means, atol=6e-6)


def test_classes_of_one_superclass_lie_side_by_side(data, store):
    kin = replace(data, superclasses=("far", "near"), superclass_of=(1, 0, 1, 0, 1, 0))
    assert decoded(kin, store)["order"] == [1, 3, 5, 0, 2, 4]


def test_of_many_classes_those_of_the_images_and_their_likeliest_are_shown(tmp_path):
    data = build_dataset(tmp_path, num_classes=120, per_class=2, side=4)
    store = build_store(data, tmp_path / "labels.zarr", epochs=(1, 2))
    found = decoded(data, store, max_images=20)
    assert len(found["order"]) == len(set(found["order"])) == 100
    assert set(found["labels"]) <= set(found["order"])
    labels = softmax(store.view().read(2, np.arange(240))).reshape(120, 2, 120).mean(1)
    named = labels[found["labels"]].max(0)
    left_out = [c for c in range(120) if c not in found["order"]]
    beside = [c for c in found["order"] if c not in found["labels"]]
    assert named[left_out].max() <= named[beside].min()


def test_of_several_crops_the_mean_is_shown(data, tmp_path):
    store = build_store(data, tmp_path / "labels.zarr", crops=2)
    found = decoded(data, store, view="crop-2")
    labels = softmax(store.view(view="crop-2").read(10, found["images"])).mean(1)
    own = labels[np.arange(len(labels)), found["labels"]]
    np.testing.assert_allclose(found["true_probability"][-1], own, atol=PROBABILITY, rtol=0)


def test_with_two_classes_both_are_listed(tmp_path):
    data = build_dataset(tmp_path, num_classes=2, per_class=3)
    found = decoded(data, build_store(data, tmp_path / "labels.zarr"))
    assert found["top"] == 2
    np.testing.assert_allclose(found["top_probabilities"].sum(-1), 1, atol=3e-5)
