"""Learning labels end to end: what is learned, what is refused, and the set that it makes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from learned_cases import MODEL, QUICK, learn, stored

import beton_builder
import engine
import labelstore
from cli.main import main
from engine.errors import (
    ConfigurationError,
    MismatchError,
    UsageError,
)
from engine.experiments import hard_targets, select_random
from engine.experiments.learned_labels import resemblance
from engine.experiments.learned_labels.reading import measured_steps
from engine.experiments.learned_labels.recipe import LearnedRecipe


def test_the_images_are_those_of_a_sweep_and_never_validations(
    small_data: Path, learned: Path
) -> None:
    dataset = beton_builder.open_dataset(small_data)
    labels = np.asarray(dataset.split("train").labels)
    students = np.setdiff1d(np.arange(len(labels)), dataset.validation_indices)
    found = engine.read_learned(learned)
    assert np.array_equal(found.ids, select_random(labels, students, 2, 0, dataset.classes))
    assert np.array_equal(found.labels, labels[found.ids])


def test_probabilities_begin_as_smoothed_hard_labels_and_move(learned: Path) -> None:
    found = engine.read_learned(learned)
    begun = np.exp(found.initial_logits_nk)
    begun /= begun.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(begun, 0.85 * hard_targets(found.labels, 3) + 0.05, atol=1e-6)
    np.testing.assert_allclose(found.probabilities_nk.sum(axis=1), 1, atol=1e-6)
    moved = np.abs(found.logits_nk - found.initial_logits_nk)
    assert 0 < moved.max() < 4 * 0.05 * 1.2  # Adam's steps are about its learning rate


def test_learning_finds_classes_that_uniform_labels_hide(small_data: Path, tmp_path: Path) -> None:
    """Nothing says which class an image has but the loss of students on other images."""
    result = learn(
        small_data,
        tmp_path / "labels",
        initial="uniform",
        steps=25,
        overrides={
            "held_out.every": 25,
            "held_out.epochs": 60,
            "held_out.lr": 0.05,
            "inner.lr": 0.05,
            "inner.horizon": 20,
            "inner.window": 10,
            "outer.lr": 0.2,
            "outer.batch_size": 64,
        },
    )
    found = engine.read_learned(tmp_path / "labels")
    assert (found.probabilities_nk.argmax(axis=1) == found.labels).all()
    before, after = (row["validation_accuracy"] for row in result["history"])
    assert after > max(0.6, before)


def test_equal_seeds_give_equal_bytes_and_others_do_not(
    small_data: Path, learned: Path, tmp_path: Path
) -> None:
    learn(small_data, tmp_path / "again")
    learn(small_data, tmp_path / "other", seed=1)
    assert stored(tmp_path / "again") == stored(learned)
    assert stored(tmp_path / "other") != stored(learned)


def test_learning_in_parts_ends_in_the_bytes_of_learning_at_once(
    small_data: Path, learned: Path, tmp_path: Path
) -> None:
    out = tmp_path / "parts"
    for steps in (0, 1, 3, 4):
        learn(small_data, out, steps=steps, overrides={"checkpoint_every": 5})
    assert stored(out) == stored(learned)
    histories = [engine.read_learned(folder).history for folder in (out, learned)]
    assert histories[0] == histories[1]
    assert [row["step"] for row in histories[0]] == [0, 1, 2, 3, 4]
    assert learn(small_data, out, steps=2)["status"] == "finished already"


def test_measured_steps_name_the_length_of_their_students() -> None:
    history = [
        {"step": 0, "entropy": 1.0, "validation_accuracy": 0.2, "student_epochs": 60},
        {"step": 1, "entropy": 0.9, "outer_loss": 2.0},
        {"step": 2, "entropy": 0.8, "validation_accuracy": 0.4, "student_epochs": 300},
    ]
    lengths = [(row["step"], row["student_epochs"]) for row in measured_steps(history)]
    assert lengths == [(0, 60), (2, 300)]


def test_other_options_are_refused_naming_what_differs(small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels"
    first = learn(small_data, out, steps=1)
    with pytest.raises(MismatchError, match=rf"{first['id']}.*inner.lr: 0.01 → 0.5.*--force"):
        learn(small_data, out, overrides={"inner.lr": 0.5})
    with pytest.raises(MismatchError, match="seed: 0 → 3"):
        learn(small_data, out, seed=3)
    replaced = learn(small_data, out, steps=1, overrides={"inner.lr": 0.5}, force=True)
    assert replaced["id"] != first["id"]
    assert engine.verify_learned(out)["ok"]


def test_force_replaces_no_other_kind_of_artefact(
    small_data: Path, small_run: Path, tmp_path: Path
) -> None:
    for artefact, found in ((small_data, "a dataset"), (small_run, "an expert run")):
        before = (artefact / "manifest.json").read_bytes()
        with pytest.raises(UsageError, match=f"found {found}; choose another"):
            learn(small_data, artefact, steps=1, force=True)
        assert (artefact / "manifest.json").read_bytes() == before


def test_a_plan_of_replacing_counts_every_step(small_data: Path, learned: Path) -> None:
    changed = {"inner.lr": 0.5}
    plan = learn(small_data, learned, overrides=changed, force=True, dry_run=True)
    assert (plan["steps_done"], plan["steps_missing"]) == (None, 4)
    assert engine.verify_learned(learned)["ok"]


def test_a_store_to_compare_with_is_looked_at_before_learning(
    small_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(labelstore.StoreNotFound):
        learn(small_data, tmp_path / "labels", compare=tmp_path / "absent.zarr")
    assert not (tmp_path / "labels").exists()


def test_bad_options_leave_nothing_behind(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    for options, error, message in (
        ({"model": "convnet-d9"}, UsageError, "unknown model"),
        ({"model": "resnet18"}, UsageError, "batch norm"),
        ({"ipc": 5000}, UsageError, "IPC 5000"),
        ({"overrides": {"inner.windw": 3}}, ConfigurationError, "did you mean window"),
        ({"overrides": {"inner.window": 7}}, ConfigurationError, "longer than horizon"),
        ({"initial": "expert"}, UsageError, "--labels STORE --expert-epoch"),
        ({"labels": small_store}, UsageError, "--compare"),
        ({"seed": -1}, UsageError, "--seed -1"),
    ):
        with pytest.raises(error, match=message):
            learn(small_data, tmp_path / "labels", **options)
    assert not (tmp_path / "labels").exists()


def test_one_class_has_no_labels_to_learn(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(small_data.parent / "source/train/ant", tmp_path / "source/train/ant")
    beton_builder.build_beton(tmp_path / "source", tmp_path / "data", workers=1)
    command = ["learn-labels", "--data", tmp_path / "data", "--out", tmp_path / "labels"]
    assert main([*map(str, command), "--model", MODEL, "--ipc", "2"]) == 2
    assert "two classes or more, and this dataset has 1" in capsys.readouterr().err


def test_only_labels_begun_with_an_experts_know_of_one(
    small_data: Path, small_store: Path, learned: Path, tmp_path: Path
) -> None:
    free = engine.read_learned(learned)
    assert free.knowledge_free
    assert "none of an expert" in free.manifest["knowledge"]
    out = tmp_path / "labels"
    learn(small_data, out, initial="expert", labels=small_store, expert_epoch=2, steps=0)
    taught = engine.read_learned(out)
    view = labelstore.open_store(small_store).view()
    assert not taught.knowledge_free
    assert taught.manifest["teacher"]["checkpoint"] == view.checkpoint_id(2)
    np.testing.assert_array_equal(taught.logits_nk, view.read(2, taught.ids).astype(np.float32))
    with pytest.raises(MismatchError, match="other labels to begin with"):
        learn(small_data, out, initial="expert", labels=small_store, expert_epoch=3, steps=0)


def test_the_epoch_that_labels_began_with_is_the_most_alike(
    small_data: Path, small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "labels"
    options = {"initial": "expert", "labels": small_store, "expert_epoch": 2}
    result = learn(small_data, out, steps=0, compare=small_store, **options)
    assert [row["epoch"] for row in result["table"]] == [0, 1, 2, 3]
    best = {row["measure"]: row["epoch"] for row in result["best_matching_epoch"]}
    assert best["kl_expert_learned"] == best["kl_learned_expert"] == 2
    assert best["similarity_cosine"] == 2
    # Of three classes two are not true: their order is the same in other epochs too.
    assert result["table"][2]["rank_correlation"] == 1
    (comparison,) = engine.read_learned(out).comparisons
    with monkeypatch.context() as patch:
        patch.setattr(resemblance, "compare_labels", None)  # the same is not compared twice
        again = learn(small_data, out, steps=0, compare=small_store, **options)
    assert again == {**result, "status": "finished already"}
    assert comparison["ipc"] == 2
    assert comparison["step"] == 0
    assert engine.verify_learned(out)["ok"]
    assert engine.learned_info(out)["best_matching_epoch"][1]["epoch"] == 2
    # Labels that have moved on have not been compared.
    learn(small_data, out, steps=1, **options)
    assert not engine.read_learned(out).comparisons


def test_the_distilled_set_holds_images_and_their_learned_labels(
    small_data: Path, learned: Path
) -> None:
    found = engine.read_learned(learned)
    beton = beton_builder.open_dataset(small_data).split("train")
    with np.load(learned / "distilled.npz") as arrays:
        for row, sample in enumerate(arrays["sample_ids"]):
            assert np.array_equal(arrays["images"][row], beton.image(int(sample)))
        assert arrays["images"].dtype == np.uint8
        assert arrays["soft_labels"].dtype == np.float32
        np.testing.assert_array_equal(arrays["soft_labels"], found.probabilities_nk)
        np.testing.assert_array_equal(arrays["labels"], found.labels)
        np.testing.assert_array_equal(arrays["sample_ids"], found.ids)


def test_the_folder_is_a_distilled_set_of_its_dataset(
    small_data: Path, learned: Path, tmp_path: Path
) -> None:
    dataset, found = beton_builder.open_dataset(small_data), engine.read_learned(learned)
    opened = engine.open_distilled(learned, dataset=dataset)
    assert opened.ids is not None
    assert np.array_equal(opened.ids, found.ids)
    assert opened.classes == tuple(dataset.classes)
    assert (opened.label_kind, opened.name, opened.findings) == ("probabilities", "labels", ())
    np.testing.assert_array_equal(opened.targets_nk, found.probabilities_nk)
    with np.load(learned / "distilled.npz") as arrays:
        images = arrays["images"].transpose(0, 3, 1, 2)
    assert np.array_equal(opened.images_nchw.numpy(), images)
    (tmp_path / "source").mkdir()
    for split in ("train", "test"):
        shutil.copytree(small_data.parent / "source" / split, tmp_path / "source" / split)
        (tmp_path / "source" / split / "bee").rename(tmp_path / "source" / split / "owl")
    beton_builder.build_beton(tmp_path / "source", tmp_path / "data", workers=1)
    other = beton_builder.open_dataset(tmp_path / "data")
    for path in (learned, learned / "distilled.npz"):
        with pytest.raises(MismatchError, match="class 1 is 'bee' there, and 'cat'"):
            engine.open_distilled(path, dataset=other)


def test_a_plan_measures_one_step_and_writes_nothing(small_data: Path, tmp_path: Path) -> None:
    plan = learn(small_data, tmp_path / "labels", steps=100, dry_run=True)
    assert plan["steps_missing"] == 100
    assert plan["estimated_seconds"] == pytest.approx(100 * plan["outer_step_seconds"])
    assert not (tmp_path / "labels").exists()


def test_the_command_learns_compares_and_is_verified(
    small_data: Path, small_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels"
    settings = [f"--set={key}={value}" for key, value in QUICK.items()]
    options = ["--model", MODEL, "--ipc", "1", "--steps", "2", "--compare", str(small_store)]
    command = ["learn-labels", "--data", str(small_data), "--out", str(out), *options, *settings]
    assert main([*command, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "learned"
    assert {row["measure"] for row in answer["best_matching_epoch"]} >= {"rank_correlation"}
    assert main(command) == 0
    assert "finished already" in capsys.readouterr().out
    assert main(["verify", str(out)]) == 0
    assert main(["info", str(out)]) == 0
    assert "none of an expert" in capsys.readouterr().out


@pytest.mark.parametrize("preset", ["learned-labels", "learned-labels-cifar100"])
def test_presets_are_valid(preset: str) -> None:
    from engine.configuration import load_configuration

    assert load_configuration(LearnedRecipe, preset).knowledge_free
