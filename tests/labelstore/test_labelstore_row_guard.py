"""Does row i describe image i? Wrong classes are noticed, right ones never refused."""

from __future__ import annotations

import labelstore_cases as cases
import numpy as np
import pytest
from labelstore_images import Images, softmax
from torch.utils.data import DataLoader, Subset

import labelstore

LOGITS = {4: cases.logits_of(4).astype(np.float16)}


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    return cases.filled(tmp_path_factory.mktemp("store") / "labels.zarr", (4,))


def test_another_class_order_is_noticed_naming_sample_class_and_both_values(view):
    order = np.array([1, 0, 2, 3, 4, 5])
    dataset = labelstore.with_soft_labels(Images(labels=order[cases.LABELS]), view, 4)
    sample = int(np.argmax(cases.LABELS < 2))
    with pytest.raises(labelstore.WrongDataset) as error:
        list(DataLoader(dataset, 64))
    own = -np.log(softmax(LOGITS[4][sample]))
    stored = view.cross_entropy(4, [sample])[0]
    given_class = order[cases.LABELS[sample]]
    message = str(error.value)
    assert f"sample {sample} does not belong to row {sample}" in message
    assert f"class {given_class}" in message
    assert f"{own[given_class]:.4g} nats, but {stored:.4g}" in message
    assert all(hint in message for hint in ("indices=", "another class order", "check=0"))


def test_a_shuffled_copy_is_noticed(view):
    shuffled = Images(labels=np.random.default_rng(1).permutation(cases.LABELS))
    with pytest.raises(labelstore.WrongDataset, match="does not belong to row"):
        list(DataLoader(labelstore.with_soft_labels(shuffled, view, 4), 64))


def test_a_class_that_the_labels_do_not_have_is_noticed(view):
    more = Images(labels=np.where(np.arange(cases.NUM_SAMPLES) == 5, 6, cases.LABELS))
    with pytest.raises(labelstore.WrongDataset, match="gives it class 6, and there are 6 classes"):
        list(DataLoader(labelstore.with_soft_labels(more, view, 4), 64))


def test_only_the_first_images_of_each_process_are_compared_and_none_if_so_asked(view):
    wrong_from_100 = np.where(np.arange(cases.NUM_SAMPLES) < 100, cases.LABELS, 0)
    first = 100 + int(np.argmax(cases.LABELS[100:] != 0))
    images = Images(labels=wrong_from_100)
    list(DataLoader(labelstore.with_soft_labels(images, view, 4, check=100), 64))
    list(DataLoader(labelstore.with_soft_labels(images, view, 4, check=0), 64))
    with pytest.raises(labelstore.WrongDataset, match=f"sample {first} "):
        list(DataLoader(labelstore.with_soft_labels(images, view, 4), 64))
    checked_here = labelstore.with_soft_labels(images, view, 4, check=100)
    checked_here.__getitems__(list(range(100)))
    checked_here[first]
    with pytest.raises(labelstore.WrongDataset, match=f"sample {first} "):  # in a worker
        next(iter(DataLoader(Subset(checked_here, [first]), 1, num_workers=1)))


SPREADS = (0.001, 0.3, 4.0, 60.0, 6_000.0)  # of the logits: from initial weights to overconfident


@pytest.mark.parametrize("codec", ["dense", "quantised:8", "quantised:3", "topk:2"])
def test_right_classes_are_never_refused_and_wrong_ones_are(tmp_path, codec):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 2_000)
    store = labelstore.create_store(
        tmp_path / "labels.zarr", dataset_id="d", classes=[*"abcde"], num_samples=2_000
    )
    view = store.add_view("expert", "plain", identity={}, codec=codec)
    epochs = range(len(SPREADS))
    with view.writer(epochs, dict.fromkeys(epochs, "c")) as writer:
        for epoch, spread in enumerate(SPREADS):
            logits = rng.normal(0, spread, (2_000, 5)).astype(np.float32)
            logits[:1_000] -= logits[:1_000].max(axis=1, keepdims=True)  # log-probabilities
            writer.write(epoch, 0, logits, labels)
    shuffled = rng.permutation(labels)
    noticed = []
    for epoch in epochs:
        right = labelstore.with_soft_labels(Images(labels=labels), view, epoch, check=2_000)
        right.__getitems__(range(2_000))
        wrong = labelstore.with_soft_labels(Images(labels=shuffled), view, epoch)
        try:
            wrong.__getitems__(range(256))
        except labelstore.WrongDataset:
            noticed.append(SPREADS[epoch])
    assert noticed[-4:] == list(SPREADS[-4:])  # the labels of 0.001 hardly know any class
