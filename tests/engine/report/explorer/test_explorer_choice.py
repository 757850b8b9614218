"""Which images, epochs and classes are shown, and in which order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from explorer_cases import decoded
from hypothesis import given
from hypothesis import strategies as st

from engine.report.explorer.choice import choose_images, evenly, ids_by_class, similarity_order


@given(st.integers(1, 300), st.integers(2, 80))
def test_thinning_keeps_the_ends_the_order_and_even_gaps(count, most):
    items = list(range(100, 100 + count))
    chosen = evenly(items, most)
    assert len(chosen) == min(count, most)
    assert (chosen[0], chosen[-1]) == (items[0], items[-1])
    gaps = np.diff(chosen)
    assert not len(gaps) or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_ids_by_class_are_a_partition(labels):
    labels_n = np.array(labels)
    parts = ids_by_class(labels_n, np.arange(len(labels)), 5)
    assert [part.tolist() for part in parts] == [
        [i for i, label in enumerate(labels) if label == c] for c in range(5)
    ]


def test_each_class_gets_as_many_images_as_fit():
    of = [np.arange(100 * c, 100 * c + 50) for c in range(10)]
    ids = choose_images(of, None, most=60, images_per_class=None)
    assert np.bincount(ids // 100).tolist() == [6] * 10
    assert ids[:6].tolist() == [0, 10, 20, 29, 39, 49]


def test_where_not_all_classes_fit_every_superclass_keeps_its_share():
    of = [np.array([c]) for c in range(100)]
    superclass_of = [c % 20 for c in range(100)]
    ids = choose_images(of, superclass_of, most=60, images_per_class=None)
    assert len(ids) == 60
    assert np.bincount(ids % 20).tolist() == [3] * 20
    assert (np.diff(ids % 20) >= 0).all()


def test_classes_without_candidates_have_no_image():
    of = [np.array([3, 5]), np.empty(0, np.int64), np.array([9])]
    assert choose_images(of, None, most=60, images_per_class=1).tolist() == [3, 9]


def test_classes_whose_labels_mix_lie_side_by_side():
    generator = np.random.default_rng(0)
    blocks = generator.permutation(np.repeat(np.arange(5), 6))
    same = blocks[:, None] == blocks[None, :]
    means = np.where(same, 0.1, 0.002) * generator.uniform(0.7, 1.3, (30, 30))
    order = similarity_order(means)
    assert sorted(order) == list(range(30))
    assert (np.diff(blocks[order]) != 0).sum() == 4


def test_validation_images_are_not_among_those_shown(data, store):
    held_out = replace(data, validation_indices=np.array([0, 13, 53]))
    found = decoded(held_out, store, max_images=10_000, images_per_class=1_000)
    assert set(found["images"]) == set(range(54)) - {0, 13, 53}


def test_images_can_be_chosen_among_the_students(data, store):
    mine = [2, 3, 20, 53]
    assert sorted(decoded(data, store, sample_ids=mine)["images"]) == mine


def test_epochs_can_be_chosen_in_any_order_and_twice(data, store):
    assert decoded(data, store, epochs=[10, 0, 10])["epochs"] == [0, 10]
