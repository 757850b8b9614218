"""Learning labels end to end: what is learned, resumed, refused, written and found damaged."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import beton_builder
import engine
import labelstore
from cli.main import main
from engine.errors import (
    ArtefactError,
    ConfigurationError,
    DamageError,
    MismatchError,
    UsageError,
)
from engine.experiments import hard_targets, select_random
from engine.experiments.learned_labels import folder as learned_folder
from engine.experiments.learned_labels import resemblance
from engine.experiments.learned_labels.reading import measured_steps
from engine.experiments.learned_labels.recipe import LearnedRecipe
from engine.records import write_record

QUICK = {
    "inner.horizon": 6,
    "inner.window": 3,
    "outer.batch_size": 16,
    "held_out.every": 2,
    "held_out.epochs": 2,
    "checkpoint_every": 2,
}
MODEL = "convnet-d2-w8"


def learn(data: Path, out: Path, **options):
    overrides = QUICK | options.pop("overrides", {})
    given = {"model": MODEL, "ipc": 2, "steps": 4, "overrides": overrides}
    return engine.learn_labels(data, out, **{**given, **options})


def stored(folder: Path) -> dict[str, bytes]:
    """All files that say nothing of how long something took."""
    return {
        str(f.relative_to(folder)): f.read_bytes()
        for f in sorted(folder.rglob("*"))
        if f.is_file() and f.suffix in (".npz", ".safetensors")
    }


@pytest.fixture(scope="module")
def learned(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("learned") / "labels"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_EAGER", "1")
        learn(small_data, out)
    return out


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


KILLED_BEFORE_FILE = """
import os, signal, sys
from pathlib import Path
import engine
data, out, files = sys.argv[1], sys.argv[2], int(sys.argv[3])
rename = Path.replace
def rename_or_die(self, target):
    global files
    if str(target).startswith(out):
        if not files:
            os.kill(os.getpid(), signal.SIGKILL)
        files -= 1
    return rename(self, target)
Path.replace = rename_or_die
engine.learn_labels(data, out, ipc=2, steps=4, model={model!r}, overrides={quick!r})
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("begun", "renames"),
    [
        (None, 10),  # manifest, three checkpoints and their records, two arrays, the result
        (2, 5),  # a checkpoint and its record, two arrays, the result
    ],
)
def test_a_kill_before_any_file_appears_loses_nothing(
    small_data: Path, learned: Path, tmp_path: Path, begun: int | None, renames: int
) -> None:
    code = KILLED_BEFORE_FILE.replace("{model!r}", repr(MODEL)).replace("{quick!r}", repr(QUICK))
    for files in range(20):
        out = tmp_path / str(files)
        if begun is not None:
            learn(small_data, out, steps=begun)
        arguments = [str(small_data), str(out), str(files)]
        status = subprocess.run([sys.executable, "-c", code, *arguments], check=False).returncode
        assert begun is None or engine.verify_learned(out)["ok"]
        learn(small_data, out)
        assert stored(out) == stored(learned)
        assert engine.verify_learned(out)["ok"]
        assert not list(out.rglob("*.partial"))
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert files == renames


def test_an_extension_stopped_between_its_files_leaves_no_damage(
    small_data: Path, learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "labels"
    learn(small_data, out, steps=2)
    with monkeypatch.context() as patch:
        write = learned_folder.write_npz

        def write_or_stop(path: Path, arrays: dict) -> None:
            if path.name == "distilled.npz":
                raise KeyboardInterrupt
            write(path, arrays)

        patch.setattr(learned_folder, "write_npz", write_or_stop)
        with pytest.raises(KeyboardInterrupt):
            learn(small_data, out)
    assert engine.verify_learned(out)["ok"]
    with pytest.raises(ArtefactError, match=r"not finished \(step 4 is the last on disk\)"):
        engine.read_learned(out)
    learn(small_data, out)
    assert stored(out) == stored(learned)


def test_a_result_lost_after_the_last_checkpoint_is_made_again(
    small_data: Path, learned: Path, tmp_path: Path
) -> None:
    out = tmp_path / "labels"
    learn(small_data, out)
    (out / "result.json").unlink()
    with pytest.raises(ArtefactError, match="step 4 is the last on disk"):
        engine.read_learned(out)
    assert learn(small_data, out)["status"] == "learned"
    assert stored(out) == stored(learned)


def flip_a_bit(file: Path) -> None:
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)


def test_a_damaged_result_is_made_again_from_the_last_step(
    small_data: Path, learned: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(learned, tmp_path / "labels")
    flip_a_bit(out / "result.json")
    steps = {file.name: file.stat().st_mtime_ns for file in (out / "steps").iterdir()}
    (problem,) = engine.verify_learned(out)["problems"]
    assert "result.json is damaged" in problem
    assert "run the same `engine learn-labels` command again" in problem
    with pytest.raises(DamageError, match=r"result\.json.*`engine learn-labels` command again"):
        engine.read_learned(out)
    assert learn(small_data, out)["status"] == "learned"
    assert stored(out) == stored(learned)
    assert {file.name: file.stat().st_mtime_ns for file in (out / "steps").iterdir()} == steps
    assert engine.verify_learned(out)["ok"]


def test_a_damaged_comparison_is_made_again_and_keeps_nobody_from_the_labels(
    small_data: Path, small_store: Path, learned: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(learned, tmp_path / "labels")
    resemblance.compare_with_expert(out, small_store, resamples=9)
    whole = (out / "comparison.json").read_bytes()
    flip_a_bit(out / "comparison.json")
    (problem,) = engine.verify_learned(out)["problems"]
    assert "comparison.json is damaged" in problem
    assert "`engine learn-labels` command again, with --compare STORE" in problem
    assert engine.read_learned(out).comparisons == ()
    dataset = beton_builder.open_dataset(small_data)
    opened = engine.open_distilled(out, dataset=dataset)
    assert opened.id == engine.open_distilled(learned, dataset=dataset).id
    resemblance.compare_with_expert(out, small_store, resamples=9)
    assert (out / "comparison.json").read_bytes() == whole


@pytest.mark.parametrize("name", ["manifest.json", "steps/step_000002.json"])
def test_what_cannot_be_made_again_names_the_command_that_learns_anew(
    learned: Path, tmp_path: Path, name: str
) -> None:
    out = shutil.copytree(learned, tmp_path / "labels")
    flip_a_bit(out / name)
    (problem,) = engine.verify_learned(out)["problems"]
    assert "the same `engine learn-labels` command with --force" in problem
    assert "train-expert" not in problem


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


def test_a_lost_part_of_the_history_is_found(small_data: Path, tmp_path: Path) -> None:
    learn(small_data, tmp_path / "labels")
    (tmp_path / "labels/steps/step_000002.json").unlink()
    answer = engine.verify_learned(tmp_path / "labels")
    assert not answer["ok"]
    assert "history of outer step 1 is missing" in answer["problems"][0]


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


def test_labels_that_were_not_learned_to_the_end_are_no_set(
    small_data: Path, learned: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(learned, tmp_path / "labels")
    (out / "result.json").unlink()
    with pytest.raises(ArtefactError, match="learning was not finished"):
        engine.open_distilled(out, dataset=beton_builder.open_dataset(small_data))


def test_every_flipped_byte_is_found(small_data: Path, learned: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels"
    learn(small_data, out)
    write_record(out / "comparison.json", {"id": "x", "comparisons": []})
    assert engine.verify_learned(out)["ok"]
    rng = np.random.default_rng(0)
    for file in [f for f in out.rglob("*") if f.is_file() and f.name != ".lock"]:
        whole = file.read_bytes()
        for place in rng.integers(0, len(whole), 12):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(rng.integers(8))
            file.write_bytes(damaged)
            found = engine.verify_learned(out)
            assert not found["ok"], f"{file.name} byte {place}"
        file.write_bytes(whole)
    assert engine.verify_learned(out)["ok"]
    (out / "labels.npz").write_bytes(b"")
    with pytest.raises(DamageError, match=r"labels\.npz"):
        engine.read_learned(out)


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
