"""Soft labels in one's own training loop: torch's, timm's and Hugging Face's datasets."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import labelstore_cases as cases
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from labelstore_images import Images, Pairs, softmax
from torch.utils.data import ConcatDataset, DataLoader, Subset, random_split

import labelstore

LOGITS = {epoch: cases.logits_of(epoch).astype(np.float16) for epoch in cases.EPOCHS}


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    return cases.filled(tmp_path_factory.mktemp("store") / "labels.zarr")


def agree(batch, expected):
    images, targets, indices = batch
    assert targets.dtype == torch.float32
    assert indices.dtype == torch.int64
    np.testing.assert_allclose(targets.numpy(), expected[indices.numpy()], rtol=2e-6, atol=1e-9)
    assert torch.equal(images[:, 0].long(), indices)
    return indices.tolist()


def test_an_item_is_image_soft_label_and_index(view):
    dataset = labelstore.with_soft_labels(Images(), view, 4, temperature=2.5)
    assert len(dataset) == cases.NUM_SAMPLES
    image, target, index = dataset[17]
    assert (image.item(), index) == (17.0, 17)
    assert target.dtype == np.float32
    np.testing.assert_allclose(target, softmax(LOGITS[4][17], 2.5), rtol=2e-6)
    assert sum(1 for _ in zip(dataset, range(3), strict=False)) == 3
    with pytest.raises(IndexError):
        dataset[cases.NUM_SAMPLES]


@pytest.mark.parametrize(("start_method", "num_workers"), [("fork", 2), ("spawn", 1)])
def test_every_batch_of_a_shuffled_loader_with_workers_has_the_labels_of_its_images(
    view, start_method, num_workers
):
    dataset = labelstore.with_soft_labels(Pairs(), view, epoch=1)
    dataset[3]  # used here first, as by someone who looks at an item before training
    loader = DataLoader(
        dataset,
        512,
        shuffle=True,
        num_workers=num_workers,
        multiprocessing_context=start_method,
    )
    expected = softmax(LOGITS[1])
    seen = [index for batch in loader for index in agree(batch, expected)]
    assert sorted(seen) == list(range(cases.NUM_SAMPLES))


def test_the_labels_of_a_batch_are_read_at_once(view, monkeypatch):
    reads = []
    read = labelstore.LabelView.probabilities

    def counting(self, epoch, indices, **options):
        reads.append(len(indices))
        return read(self, epoch, indices, **options)

    dataset = labelstore.with_soft_labels(Images(), view, 1)
    monkeypatch.setattr(labelstore.LabelView, "probabilities", counting)
    for _ in DataLoader(dataset, 1_000):
        pass
    assert reads == [1_000] * 5


def test_a_data_set_that_reads_batches_is_asked_for_batches(view):
    class Batched(Images):
        def __getitems__(self, positions):
            asked.append(len(positions))
            return [self[position] for position in positions]

    asked = []
    for batch in DataLoader(labelstore.with_soft_labels(Batched(), view, 1), 2_500):
        agree(batch, softmax(LOGITS[1]))
    assert asked == [2_500, 2_500]


def test_several_epochs_are_the_mean_of_their_logits(view):
    mean = (LOGITS[0].astype(np.float64) + LOGITS[4]) / 2
    dataset = labelstore.with_soft_labels(Images(), view, [0, 4], temperature=3)
    for batch in DataLoader(dataset, 1_024):
        agree(batch, softmax(mean, 3))
    alone = labelstore.with_soft_labels(Images(), view, [4])[9][1]
    np.testing.assert_array_equal(alone, labelstore.with_soft_labels(Images(), view, 4)[9][1])


@given(
    st.lists(st.integers(-cases.NUM_SAMPLES, cases.NUM_SAMPLES - 1), min_size=1, max_size=30),
    st.data(),
)
def test_subsets_of_subsets_keep_the_rows_of_their_images(view, first, data):
    second = data.draw(st.lists(st.integers(-len(first), len(first) - 1), min_size=1, max_size=30))
    nested = Subset(Subset(Images(), first), second)
    for dataset in (
        labelstore.with_soft_labels(nested, view, 1),
        Subset(Subset(labelstore.with_soft_labels(Images(), view, 1), first), second),
    ):
        (batch,) = DataLoader(dataset, len(second))
        assert agree(batch, softmax(LOGITS[1])) == [first[i] % cases.NUM_SAMPLES for i in second]


def test_random_splits_and_explicit_rows_are_mapped(view):
    part, _ = random_split(Images(), [0.3, 0.7], torch.Generator().manual_seed(0))
    for batch in DataLoader(labelstore.with_soft_labels(part, view, 1), 512):
        agree(batch, softmax(LOGITS[1]))
    order = np.random.default_rng(0).permutation(cases.NUM_SAMPLES)
    shuffled = Images(labels=cases.LABELS[order])
    dataset = labelstore.with_soft_labels(shuffled, view, 1, indices=order)
    assert [dataset[i][2] for i in (0, 1, -1)] == [order[0], order[1], order[-1]]
    np.testing.assert_allclose(dataset[1][1], softmax(LOGITS[1][order[1]]), rtol=2e-6)


@pytest.mark.parametrize(
    ("item", "options"),
    [
        (lambda image, label: [image, label], {}),
        (lambda image, label: (image, label, "more"), {}),
        (lambda image, label: (label, image), {"image": 1, "label": 0}),
        (lambda image, label: (image, torch.tensor(label)), {}),
        (lambda image, label: {"img": image, "fine_label": label, "coarse_label": 0}, {}),
        (lambda image, label: {"x": image, "y": np.int64(label)}, {"image": "x", "label": "y"}),
    ],
)
def test_items_of_any_form_are_understood_and_their_classes_compared(view, item, options):
    dataset = labelstore.with_soft_labels(Images(item), view, 1, **options)
    (batch,) = DataLoader(dataset, cases.NUM_SAMPLES)
    agree(batch, softmax(LOGITS[1]))
    wrong = Images(item, labels=(cases.LABELS + 1) % cases.NUM_CLASSES)
    with pytest.raises(labelstore.WrongDataset):
        labelstore.with_soft_labels(wrong, view, 1, **options)[0]


@pytest.mark.parametrize(
    "item",
    [
        lambda image, label: image,
        lambda image, label: (image,),
        lambda image, label: (image, "a name"),
        lambda image, label: (image, -1),  # timm's and torch's "no label"
        lambda image, label: (image, torch.tensor([0.5, 0.5])),
        lambda image, label: {"image": image},
    ],
)
def test_images_without_a_class_get_labels_and_are_not_compared(view, item):
    (batch,) = DataLoader(labelstore.with_soft_labels(Images(item), view, 1), cases.NUM_SAMPLES)
    agree(batch, softmax(LOGITS[1]))


def test_keys_that_are_not_there_are_named(view):
    both = Images(lambda image, label: {"image": image, "img": image, "label": label})
    with pytest.raises(labelstore.BadArgument, match="found image, img, label; say which it is"):
        labelstore.with_soft_labels(both, view, 1)[0]
    for option in ("image", "label"):
        with pytest.raises(labelstore.BadArgument, match=f"{option}: expected 'pixels' among"):
            labelstore.with_soft_labels(both, view, 1, **{"image": "img", option: "pixels"})[0]


# What is refused


def test_other_numbers_of_images_are_refused_with_a_way_out(view):
    with pytest.raises(labelstore.WrongDataset, match=r"labels of 5000 images, but .* has 10000"):
        labelstore.with_soft_labels(ConcatDataset([Images(), Images()]), view, 1)
    with pytest.raises(labelstore.WrongDataset, match="indices="):
        labelstore.with_soft_labels(Images(labels=cases.LABELS[:10]), view, 1)
    ten = Images(labels=cases.LABELS[:10])
    with pytest.raises(labelstore.BadArgument, match="each of the 10 images, found 9"):
        labelstore.with_soft_labels(ten, view, 1, indices=range(9))
    with pytest.raises(labelstore.BadIndices):
        labelstore.with_soft_labels(ten, view, 1, indices=range(4_995, 5_005))


@pytest.mark.parametrize("epoch", [3, [0, 3]])
def test_an_epoch_that_was_never_written_is_refused_before_training(view, epoch):
    with pytest.raises(labelstore.EpochNotDumped, match="epoch 3"):
        labelstore.with_soft_labels(Images(), view, epoch)


@pytest.mark.parametrize("options", [{"epoch": []}, {"temperature": 0}, {"epoch": 1.5}])
def test_arguments_that_cannot_be_meant_are_refused(view, options):
    with pytest.raises((labelstore.BadArgument, TypeError)):
        labelstore.with_soft_labels(Images(), view, **{"epoch": 1, **options})


def test_loaders_streams_and_crop_labels_are_refused(view, tmp_path):
    for other in (DataLoader(Images()), iter([1]), 3):
        with pytest.raises(labelstore.BadArgument, match="wrap the dataset that it loads"):
            labelstore.with_soft_labels(other, view, 1)
    store = labelstore.create_store(
        tmp_path / "labels.zarr", dataset_id="d", classes=[*"abc"], num_samples=9
    )
    crops = store.add_view("expert", "crop-2", identity={}, crops=2)
    with pytest.raises(labelstore.BadArgument, match="labels of 2 crops of every image"):
        labelstore.with_soft_labels(Images(labels=range(9)), crops, 0)


# Other libraries


def test_attributes_are_those_of_the_data_set_inside(view):
    images = Images()
    dataset = labelstore.with_soft_labels(Subset(Subset(images, [5, 6, 7]), [2, 0]), view, 1)
    dataset.transform = lambda image: image + 0.25
    assert images.transform is dataset.transform
    assert dataset[0][0].item() == 7.25
    assert dataset.labels is cases.LABELS
    assert dataset.indices == [2, 0]
    dataset.new = 1
    assert dataset.dataset.new == 1
    with pytest.raises(AttributeError, match="nothing"):
        _ = dataset.nothing
    with pytest.raises(AttributeError, match="join others"):
        dataset.sample_ids = np.arange(2)


def test_it_survives_pickling(view):
    dataset = pickle.loads(pickle.dumps(labelstore.with_soft_labels(Pairs(), view, [0, 1])))
    mean = (LOGITS[0].astype(np.float64) + LOGITS[1]) / 2
    for batch in DataLoader(dataset, 1_000):
        agree(batch, softmax(mean))


def test_timm_trains_on_real_images_with_soft_labels(shared_data, tmp_path):
    from timm.data import create_dataset, create_loader

    root = shared_data / "imagenet-sample" / "train"
    images = create_dataset("", root=str(root))
    labels = np.array([images.reader[i][1] for i in range(len(images))])
    classes = sorted({path.name for path in root.iterdir() if path.is_dir()})
    sizes = [len(images.reader[i][0].read()) for i in range(len(images))]
    logits = np.zeros((len(images), len(classes)), np.float32)
    logits[np.arange(len(images)), labels] = np.log(sizes)  # says which image it is
    store = labelstore.create_store(
        tmp_path / "labels.zarr", dataset_id="d", classes=classes, num_samples=len(images)
    )
    view = store.add_view("expert", "plain", identity={})
    with view.writer([0], {0: "c"}) as writer:
        for start, stop, _ in writer.missing_blocks():
            writer.write(0, start, logits[start:stop], labels[start:stop])
    loader = create_loader(
        labelstore.with_soft_labels(images, view, 0),
        input_size=32,
        batch_size=8,
        is_training=True,
        use_prefetcher=False,
        num_workers=1,
        device=torch.device("cpu"),
    )
    (pixels, targets, indices), *_ = loader
    assert pixels.shape == (8, 3, 32, 32)
    assert pixels.dtype == torch.float32
    expected = softmax(logits.astype(np.float16)[indices])
    np.testing.assert_allclose(targets.numpy(), expected, rtol=2e-6)
    assert images.transform is not None


LOOP = """
import sys
import numpy as np, torch
from torch.utils.data import DataLoader, TensorDataset
import labelstore

torch.manual_seed(0)
images, labels = torch.from_numpy(np.load(sys.argv[2])), torch.from_numpy(np.load(sys.argv[3]))

view = labelstore.open_store(sys.argv[1]).view()
dataset = labelstore.with_soft_labels(TensorDataset(images, labels), view, epoch=4, temperature=4.0)
loader = DataLoader(dataset, batch_size=250, shuffle=True, num_workers=1)

model = torch.nn.Linear(8, 6)
optimizer = torch.optim.SGD(model.parameters(), lr=10.0)
losses = []
for _ in range(3):
    for batch, targets, indices in loader:
        assert torch.equal(batch, images[indices])
        direct = torch.from_numpy(view.probabilities(4, indices, temperature=4.0))
        assert torch.equal(targets, direct)
        loss = torch.nn.functional.cross_entropy(model(batch) / 4.0, targets)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        losses.append(loss.item())
assert not {"engine", "beton_builder", "zarr", "ffcv"} & set(sys.modules)
print(losses[0], np.mean(losses[-20:]))
"""


def test_a_plain_training_loop_learns_from_the_labels_and_imports_nothing_of_the_engine(
    view, tmp_path
):
    logits = cases.logits_of(4)
    mixing = np.random.default_rng(0).normal(size=(cases.NUM_CLASSES, 8)).astype(np.float32)
    np.save(tmp_path / "images.npy", (logits - logits.mean(axis=1, keepdims=True)) @ mixing / 8)
    np.save(tmp_path / "labels.npy", cases.LABELS)
    store, root = view.folder.parents[1], Path(labelstore.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", LOOP, store, tmp_path / "images.npy", tmp_path / "labels.npy"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    first, last = map(float, done.stdout.split())
    targets = softmax(LOGITS[4], 4)
    least = float(-(targets * np.log(targets)).sum(axis=1).mean())
    assert last - least < 0.3 * (first - least)


def test_wrapping_a_data_set_imports_no_torch(view):
    code = (
        "import sys, labelstore; v = labelstore.open_store(sys.argv[1]).view(); "
        "d = labelstore.with_soft_labels([(0, None)] * 5000, v, 4); d[7]; "
        "assert 'torch' not in sys.modules and d[7][2] == 7"
    )
    root = Path(labelstore.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code, view.folder.parents[1]], check=True, cwd=root)
