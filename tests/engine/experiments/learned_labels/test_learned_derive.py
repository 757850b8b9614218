"""Labels from the images alone: what they are made of, their entropy, their place in a store."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

import beton_builder
import engine
import labelstore
from cli.main import main
from engine.errors import UsageError
from engine.experiments.learned_labels import class_distances
from engine.experiments.learned_labels.class_distances import (
    LEAD,
    ClassDistances,
    similarity_labels,
    temperature_of_entropy,
)
from engine.experiments.learned_labels.derive import epoch_of
from engine.training.progress import no_progress

seeds = st.integers(0, 10_000)


def distances_of(seed: int, n: int = 30, k: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.gamma(3.0, 20.0, (n, k)).astype(np.float32), rng.integers(0, k, n)


def normalised_images(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (n, c, h, w), their classes and which of them are validation's."""
    dataset = beton_builder.open_dataset(data)
    beton = dataset.split("train")
    images = np.stack([beton.image(i) for i in range(beton.num_samples)]) / 255
    normal = ((images - dataset.mean) / dataset.std).astype(np.float32).transpose(0, 3, 1, 2)
    held = np.isin(np.arange(len(images)), dataset.validation_indices)
    return normal, np.asarray(beton.labels), held


@given(seeds, st.floats(1.0, 200.0))
def test_rows_sum_to_one_and_the_true_class_leads(seed: int, temperature: float) -> None:
    distances, labels = distances_of(seed)
    p = similarity_labels(distances, labels, temperature)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    rows = np.arange(len(p))
    others = p.copy()
    others[rows, labels] = 0
    assert (p[rows, labels] >= LEAD * others.max(axis=1) - 1e-12).all()


@given(seeds)
def test_the_other_classes_keep_the_proportions_of_a_softmax(seed: int) -> None:
    distances, labels = distances_of(seed)
    p = similarity_labels(distances, labels, 50.0)
    plain = scipy.special.softmax(-distances.astype(np.float64) / 50.0, axis=1)
    for row, true in enumerate(labels):
        others = np.arange(distances.shape[1]) != true
        ratio = p[row, others] / plain[row, others]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)
    leading = plain[np.arange(len(p)), labels] >= LEAD * np.sort(plain, axis=1)[:, -2]
    np.testing.assert_allclose(p[leading], plain[leading], rtol=1e-9)


@given(seeds, st.floats(0.9, 1.7))
def test_the_temperature_gives_the_entropy_that_was_asked_for(seed: int, nats: float) -> None:
    distances, labels = distances_of(seed)
    p = similarity_labels(distances, labels, temperature_of_entropy(distances, labels, nats))
    assert scipy.stats.entropy(p.T).mean() == pytest.approx(nats, abs=1e-4)


def test_an_entropy_that_can_not_be_had_is_refused_with_the_range() -> None:
    distances, labels = distances_of(0)
    with pytest.raises(UsageError, match=r"0\.\d\d to 1\.79 nats"):
        temperature_of_entropy(distances, labels, 1.8)
    with pytest.raises(UsageError, match="hundredths"):
        epoch_of(1.234)


def test_labels_in_the_store_are_those_of_mean_images(small_data: Path, tmp_path: Path) -> None:
    result = engine.derive_labels(small_data, tmp_path / "labels.zarr", entropies=[0.7, 1.0])
    images, labels, held = normalised_images(small_data)
    means = np.stack([images[(labels == c) & ~held].mean(axis=0) for c in range(3)])
    distances = ((images[:, None] - means[None]).astype(np.float64) ** 2).sum(axis=(2, 3, 4))
    view = labelstore.open_store(tmp_path / "labels.zarr").view("class-mean-images")
    assert view.epochs == (70, 100)
    for row, nats in zip(result["table"], (0.7, 1.0), strict=True):
        expected = similarity_labels(distances, labels, row["temperature"])
        found = view.probabilities(row["epoch"], np.arange(len(labels)))
        np.testing.assert_allclose(found, expected, atol=3e-3)
        assert row["mean_entropy"] == pytest.approx(nats, abs=5e-3)


def test_random_features_are_those_before_the_last_layer(small_data: Path) -> None:
    dataset = beton_builder.open_dataset(small_data)
    distances = ClassDistances(
        dataset,
        "random-features",
        model="convnet-d2-w8",
        resolution=16,
        seed=4,
        progress=no_progress,
    )
    images, labels, held = normalised_images(small_data)
    network = distances.features
    assert network is not None
    with torch.no_grad():
        features = network.features(torch.from_numpy(images)).flatten(1).numpy()
    means = np.stack([features[(labels == c) & ~held].mean(axis=0) for c in range(3)])
    expected = ((features[:, None] - means[None]) ** 2).sum(axis=2)
    found = distances(np.arange(len(images)))
    centred = [d - d.mean(axis=1, keepdims=True) for d in (found, expected)]
    np.testing.assert_allclose(*centred, rtol=1e-3, atol=1e-3)


def test_deriving_again_adds_only_what_is_missing(small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.zarr"
    plan = engine.derive_labels(small_data, out, entropies=[0.7], dry_run=True)
    assert plan["epochs"] == [70]
    assert not out.exists()
    engine.derive_labels(small_data, out, entropies=[0.7])
    more = engine.derive_labels(small_data, out, entropies=[0.7, 0.9])
    assert [row["status"] for row in more["table"]] == ["finished already", "imported"]
    assert engine.derive_labels(small_data, out, entropies=[0.9])["status"] == "finished already"


def test_finished_labels_are_not_computed_again(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor told from those that another machine's arithmetic would make."""
    out = tmp_path / "labels.zarr"
    first = engine.derive_labels(small_data, out, entropies=[0.7])
    monkeypatch.setattr(class_distances.ClassDistances, "__init__", None)
    again = engine.derive_labels(small_data, out, entropies=[0.7])
    assert again["status"] == "finished already"
    assert again["table"] == [{**first["table"][0], "status": "finished already"}]
    plan = engine.derive_labels(small_data, out, entropies=[0.7, 0.9], dry_run=True)
    assert plan["epochs_missing"] == [90]


def test_a_stopped_epoch_goes_on_with_the_temperature_it_was_begun_with(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of another temperature, however near, would be of another teacher."""
    begun = engine.derive_labels(small_data, tmp_path / "whole.zarr", entropies=[0.7])
    out = tmp_path / "labels.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(labelstore.LabelWriter, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.derive_labels(small_data, out, entropies=[0.7])
    changed = begun["table"][0]["temperature"] * 1.5
    monkeypatch.setattr(class_distances, "temperature_of_entropy", lambda *_: changed)
    finished = engine.derive_labels(small_data, out, entropies=[0.7])
    assert finished["status"] == "derived"
    assert finished["table"][0]["temperature"] == begun["table"][0]["temperature"]
    views = [labelstore.open_store(tmp_path / each).view() for each in ("whole.zarr", out.name)]
    assert np.array_equal(*(view.read(70, slice(None)) for view in views))


@pytest.mark.parametrize("lost", ["zarr.json", "quantised-8/codes/zarr.json", "../zarr.json"])
def test_a_document_that_was_removed_is_made_again(
    small_data: Path, tmp_path: Path, lost: str
) -> None:
    out, options = tmp_path / "labels.zarr", {"entropies": [0.7], "codec": "quantised:8"}
    engine.derive_labels(small_data, out, **options)
    document = out / "class-mean-images/plain" / lost
    whole = document.read_bytes()
    document.unlink()
    engine.derive_labels(small_data, out, **options)
    assert document.read_bytes() == whole


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_labels_of_an_earlier_version_are_finished_and_extended(
    small_data: Path, tmp_path: Path
) -> None:
    """It named no teacher in a view's identity, and hashed the temperature into a checkpoint's."""
    dataset, out = beton_builder.open_dataset(small_data), tmp_path / "labels.zarr"
    known = {"dataset_id": dataset.id, "classes": dataset.classes}
    store = labelstore.create_store(out, **known, num_samples=120)
    earlier = {"source": {"kind": "teacher", "values": "logits"}}
    store.add_view("class-mean-images", "plain", identity=earlier)
    labelstore.import_labels(
        out,
        lambda ids: np.zeros((len(ids), 3), np.float32),
        **known,
        labels=np.asarray(dataset.split("train").labels, np.int64),
        expert="class-mean-images",
        epoch=70,
        checkpoint_id="class-mean-images-0.70-nats-0123456789abcdef",
    )
    more = engine.derive_labels(small_data, out, entropies=[0.7, 0.9])
    assert [row["status"] for row in more["table"]] == ["finished already", "imported"]
    view = labelstore.open_store(out).view()
    assert view.identity == earlier
    assert view.epochs == (70, 90)


def test_networks_have_names_of_their_own_and_do_not_mix_under_one(
    small_data: Path, tmp_path: Path
) -> None:
    out, networks = tmp_path / "labels.zarr", ("convnet-d2-w8", "convnet-d1-w8")
    options = {"method": "random-features", "entropies": [1.0]}
    for model in networks:
        engine.derive_labels(small_data, out, model=model, **options)
    store = labelstore.open_store(out)
    assert [expert for expert, _ in store.views()] == [
        f"random-features-{model}-seed0" for model in sorted(networks)
    ]
    engine.derive_labels(small_data, out, expert="one", model=networks[0], **options)
    for other in ({"model": networks[1]}, {"model": networks[0], "seed": 1}):
        with pytest.raises(labelstore.WrongIdentity, match="random-features"):
            engine.derive_labels(
                small_data, out, **{**options, "expert": "one", "entropies": [1.05], **other}
            )
    with pytest.raises(labelstore.WrongIdentity, match="class-mean-images"):
        engine.derive_labels(small_data, out, expert="one", entropies=[1.05])


def test_a_folder_of_other_files_is_refused_before_anything_is_computed(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_distances.ClassDistances, "__init__", None)
    (tmp_path / "notes.txt").write_text("keep")
    with pytest.raises(labelstore.StoreNotFound, match=r"notes\.txt"):
        engine.derive_labels(small_data, tmp_path, entropies=[1.0])


@pytest.mark.parametrize("limit", ["DISTANCE_BYTES", "TEMPERATURE_ROWS"])
def test_a_temperature_chosen_on_some_images_holds_for_all(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """As of datasets whose distances, or whose images, are too many."""
    monkeypatch.setattr(class_distances, limit, 4 * 3 * 60 if limit == "DISTANCE_BYTES" else 60)
    whole = engine.derive_labels(small_data, tmp_path / "some.zarr", entropies=[0.8])["table"][0]
    images, labels, held = normalised_images(small_data)
    means = np.stack([images[(labels == c) & ~held].mean(axis=0) for c in range(3)])
    distances = ((images[:, None] - means[None]).astype(np.float64) ** 2).sum(axis=(2, 3, 4))
    expected = similarity_labels(distances, labels, whole["temperature"])
    view = labelstore.open_store(tmp_path / "some.zarr").view()
    found = view.probabilities(80, np.arange(len(labels)))
    np.testing.assert_allclose(found, expected, atol=3e-3)
    of_all = temperature_of_entropy(distances.astype(np.float32), labels, 0.8)
    assert whole["temperature"] != pytest.approx(of_all, rel=1e-6)  # it was chosen on some
    assert whole["mean_entropy"] == pytest.approx(0.8, abs=0.05)


def test_choosing_a_temperature_copies_few_of_the_distances() -> None:
    distances, labels = distances_of(0, n=100_000, k=10)
    tracemalloc.start()
    temperature_of_entropy(distances, labels, 2.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * distances.nbytes


def test_a_sweep_takes_them_for_one_more_expert(small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.zarr"
    options = ["--method", "random-features", "--model", "convnet-d2-w8", "--entropy", "0.7,1.0"]
    assert main(["derive-labels", "--data", str(small_data), "--out", str(out), *options]) == 0
    result = engine.sweep_students(
        small_data,
        out,
        tmp_path / "sweep",
        ipc=[1],
        expert_epochs=[70, 100],
        seeds=[0],
        overrides={
            "labels": ["soft"],
            "student.model": "convnet-d2-w8",
            "student.epochs": 2,
            "student.precision": "fp32",
        },
    )
    assert result["failed"] == 0
    assert result["trials"] == 2


@pytest.mark.parametrize("entropy", ["nan", "inf", "-1", "1e300", "0.123"])
def test_a_number_that_is_no_entropy_is_refused(small_data: Path, capsys, entropy: str) -> None:
    code = main(["derive-labels", "--data", str(small_data), "--out", "x", f"--entropy={entropy}"])
    assert code == 2
    assert "expected nats in hundredths" in capsys.readouterr().err


def test_a_list_of_words_is_no_entropy(small_data: Path, capsys) -> None:
    code = main(["derive-labels", "--data", str(small_data), "--out", "x", "--entropy", "much"])
    assert code == 2
    assert "'much'" in capsys.readouterr().err


def test_json_says_what_was_derived(small_data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "labels.zarr"
    arguments = ["--data", str(small_data), "--out", str(out), "--entropy", "1", "--json"]
    assert main(["derive-labels", *arguments]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["table"][0]["epoch"] == 100
