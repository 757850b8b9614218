"""Selections in sweeps: whose scores they go by, what they do to a trial, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plan_cases import SMALL, logits_of, planned, write_store

import beton_builder
import engine
import labelstore
from engine.errors import ConfigurationError, MismatchError, UsageError
from engine.experiments import Pool, parse_label_transform, parse_selection
from engine.records import read_record
from engine.sweep import Trial, load_grids
from engine.sweep.executors.trial_runner import TrialRunner
from engine.sweep.planning.plan import amount_of_work, sample_pool
from engine.sweep.planning.teachers import Teacher
from engine.sweep.planning.trial import DatasetFacts
from engine.sweep.timing.step_kinds import steps_of
from engine.training import Seeds, StudentRecipe
from engine.training.precision import choose_arithmetic


@pytest.fixture(scope="module")
def dataset(small_data: Path) -> beton_builder.Dataset:
    return beton_builder.open_dataset(small_data)


@pytest.fixture(scope="module")
def store(
    dataset: beton_builder.Dataset, tmp_path_factory: pytest.TempPathFactory
) -> labelstore.LabelStore:
    return write_store(tmp_path_factory.mktemp("two") / "labels.zarr", dataset)


def mean_logits(num_samples: int, *members: tuple[str, int]) -> np.ndarray:
    stored = [logits_of(expert, epoch, num_samples).astype(np.float16) for expert, epoch in members]
    return np.mean([each.astype(np.float64) for each in stored], axis=0)


def chosen_by(dataset: beton_builder.Dataset, trial: Trial, *members: tuple[str, int]) -> list[int]:
    """The sample ids of a trial whose images are scored by these experts and epochs."""
    labels, candidates = sample_pool(dataset)
    logits = mean_logits(len(labels), *members)
    nats = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    features = logits - logits.mean(axis=1, keepdims=True)
    pool = Pool(
        labels=labels,
        candidates=candidates,
        classes=dataset.classes,
        difficulty=nats.astype(np.float32),
        features=features.astype(np.float32),
    )
    return trial.selection(pool, trial.ipc, trial.seeds.subset_seed).tolist()


def seen_by(runner: TrialRunner, trial: Trial) -> list[int]:
    return runner.subset_of(trial).ids.tolist()


@pytest.mark.parametrize("name", ["difficulty:2", "stratified", "k-centre", "herding"])
def test_images_are_scored_by_the_teacher_or_by_its_expert_at_the_named_epoch(
    dataset, store, name: str
) -> None:
    runner = TrialRunner(dataset, store, choose_arithmetic("fp32"))
    both = {"selection": [name, f"{name}@9"], "ipc": [2]}
    own, named = planned(dataset, store, expert="bob", **both)
    assert {own.scorer, named.scorer} != {own.teacher}
    for trial, epoch in ((own, 4), (named, 9)):
        assert trial.teacher.epochs == (4,)
        assert trial.scorer.epochs == (epoch,)
        assert seen_by(runner, trial) == chosen_by(dataset, trial, ("bob", epoch))
    (ensemble,) = planned(dataset, store, ensemble=[{"experts": "all", "epochs": [4, 7]}],
                          selection=[name], ipc=[2])  # fmt: skip
    members = [(expert, epoch) for expert in ("ada", "bob") for epoch in (4, 7)]
    assert seen_by(runner, ensemble) == chosen_by(dataset, ensemble, *members)
    (fixed,) = planned(dataset, store, ensemble=[["ada", "bob"]], selection=[f"{name}@9"], ipc=[2])
    assert seen_by(runner, fixed) == chosen_by(dataset, fixed, ("ada", 9), ("bob", 9))


def test_hard_labels_are_scored_by_the_only_expert_of_their_grid(dataset, store) -> None:
    runner = TrialRunner(dataset, store, choose_arithmetic("fp32"))
    asked = {"labels": ["hard", "soft"], "selection": ["difficulty:9@7"], "ipc": [2]}
    hard, soft = sorted(planned(dataset, store, **asked), key=lambda trial: trial.cell["labels"])
    assert (hard.teacher, soft.teacher.epochs) == (None, (4,))
    assert hard.scorer == soft.scorer
    assert hard.subset == soft.subset
    assert seen_by(runner, hard) == chosen_by(dataset, hard, ("ada", 7))
    record = runner.run(hard, lambda *_: None)
    assert record["status"] == "done"
    assert record["cell"]["selection"] == "difficulty:9@7"
    assert record["cell"]["expert"] is None
    view = store.view("ada")
    assert record["parents"]["store"] == store.id
    assert record["parents"]["scorer"] == {
        "view": view.id,
        "codec": "dense",
        "checkpoints": [view.checkpoint_id(7)],
    }
    assert record["scorer"] == {
        "experts": ["ada"],
        "epochs": [7],
        "view": "plain",
        "codec": "dense",
    }


def made_trial(selection: str, teacher: Teacher | None, labels: str) -> Trial:
    return Trial(
        dataset=DatasetFacts("data", (0.5,) * 3, (0.25,) * 3, 3, 10, 100),
        ipc=2,
        selection=parse_selection(selection),
        labels=parse_label_transform(labels),
        teacher=teacher,
        seeds=Seeds(subset_seed=1, init_seed=2, order_seed=3, augment_seed=4),
        student=StudentRecipe.model_validate({"epochs": 8, "resolution": 32}),
        store="store",
    )


TEACHER = Teacher(
    experts=("ada",),
    epochs=(4,),
    view="plain",
    codec="dense",
    view_ids=("view",),
    checkpoints=("checkpoint",),
    resolution=32,
)


def test_ids_of_trials_that_ran_before_selections_had_parameters_stay() -> None:
    """Pinned: computed by the version before. Records of finished sweeps are found by them."""
    assert made_trial("random", TEACHER, "temperature:2").id == PINNED_SOFT
    assert made_trial("random", None, "hard").id == PINNED_HARD
    soft = made_trial("random", TEACHER, "temperature:2").identity()
    assert soft["cell"]["selection"] == "random"
    assert set(soft["parents"]) == {
        "dataset",
        "normalisation",
        "store",
        "view",
        "codec",
        "checkpoints",
    }
    assert "scorer" not in soft


PINNED_SOFT = "3ee84dbb6f660ecf"
PINNED_HARD = "eae10cc14a7d324c"


def test_an_id_depends_on_the_checkpoint_that_scored_the_images(dataset, tmp_path: Path) -> None:
    ada = write_store(tmp_path / "a.zarr", dataset)
    renamed = write_store(tmp_path / "b.zarr", dataset, names={"ada": "zoe", "bob": "bob"})
    other = write_store(tmp_path / "c.zarr", dataset, names={"bob": "ada"})

    def one(store: labelstore.LabelStore, **settings: Any) -> Trial:
        asked = {"labels": ["hard"], "selection": ["difficulty:2@7"], **settings}
        (trial,) = planned(dataset, store, **asked)
        return trial

    first = one(ada)
    assert one(ada).id == first.id
    assert one(renamed, expert="zoe").id == first.id
    assert one(renamed, expert="zoe").subset == first.subset
    others = [
        one(other),
        one(ada, selection=["difficulty:2@9"]),
        one(ada, selection=["difficulty:3@7"]),
    ]
    assert len({trial.id for trial in (first, *others)}) == 4
    assert len({trial.subset for trial in (first, *others)}) == 4
    assert one(other).id == one(ada, expert="bob").id  # bob under ada's name
    assert one(other, selection=["random"]).id == one(ada, selection=["random"]).id


def test_a_trial_scored_by_another_checkpoint_fails_and_says_so(dataset, store, tmp_path) -> None:
    (trial,) = planned(dataset, store, labels=["hard"], selection=["herding@7"])
    swapped = write_store(tmp_path / "l.zarr", dataset, names={"bob": "ada"})
    for other, reason in ((swapped, "plan the sweep again"), (None, "there is no label store")):
        runner = TrialRunner(dataset, other, choose_arithmetic("fp32"))
        record = runner.run(trial, lambda *_: None)
        assert record["status"] == "failed"
        assert reason in record["error"]
        with pytest.raises(MismatchError, match=reason):
            runner.subset_of(trial)


def test_one_subset_serves_every_seed_where_the_seed_has_no_influence(dataset, store) -> None:
    trials = planned(dataset, store, selection=["herding"], seeds=[0, 1, 2])
    assert len({trial.subset for trial in trials}) == 1
    assert len({trial.id for trial in trials}) == 3
    drawn = planned(dataset, store, selection=["stratified"], seeds=[0, 1, 2])
    assert len({trial.subset for trial in drawn}) == 3


def test_a_student_without_a_class_has_fewer_images(dataset, store) -> None:
    """Whatever is counted in images: three classes of which two are left, batches of 4."""
    (whole,) = planned(dataset, store, ipc=[4], selection=["random"])
    (less,) = planned(dataset, store, ipc=[4], selection=["drop-class:1"])
    assert (whole.num_images, less.num_images) == (12, 8)
    assert (whole.training_images, less.training_images) == (12 * 4, 8 * 4)
    (odd,) = planned(dataset, store, ipc=[3], selection=["drop-class:1"])
    assert odd.shape.batch_sizes == (4, 2)
    assert {kind.batch_size: steps for kind, steps in steps_of(odd).items()} == {4: 4, 2: 4}
    amount = amount_of_work([whole, less])
    assert amount["training_images"] == (12 + 8) * 4
    runner = TrialRunner(dataset, store, choose_arithmetic("fp32"))
    images = []
    record = runner.run(less, lambda done, total: images.append((done, total)))
    assert record["status"] == "done"
    assert images[-1] == (8 * 4, 8 * 4)
    ids = seen_by(runner, less)
    assert {int(each) for each in sample_pool(dataset)[0][ids]} == {0, 2}
    assert set(ids) < set(seen_by(runner, whole))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["hard"], "selection": ["difficulty:0"]},
         r"labels that need no expert.*--set 'selection=\[\"difficulty:0@9\"\]'"),
        ({"labels": ["soft", "hard"], "selection": ["random", "herding"]}, r"herding@9"),
        ({"labels": ["hard"], "selection": ["herding@4"], "expert": ["ada", "bob"]},
         r"which has 2: ada plain; bob plain.*--set expert=NAME"),
        ({"selection": ["difficulty:0@5"]}, "epoch 5 is not in the label store"),
        ({"labels": ["hard"], "selection": ["stratified@5"]}, "epoch 5 is not in the label store"),
        ({"selection": ["difficulty:0"], "ipc": [5]},
         r"IPC 5 is larger than what difficulty:0 chooses from in the smallest class: "
         r"'ant' has 4 of 36 images.*up to 4"),
        ({"selection": ["difficulty:10"]}, "expected a decile from 0"),
        ({"selection": ["drop-class:3"]}, "this dataset has 3 classes"),
        ({"selection": ["drop-class:0"], "ipc": [40]}, "IPC 40 is larger than the smallest class"),
    ],
)  # fmt: skip
def test_selections_that_can_not_work_are_refused(dataset, store, changes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        planned(dataset, store, **changes)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("dificulty:3", "did you mean difficulty"),
        ("k-center", "did you mean k-centre"),
        ("stratified:3", r"expected stratified\[@EPOCH\]"),
    ],
)
def test_unknown_selections_are_refused_by_name(selection: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_grids(None, {"selection": [selection]})


SELECTIONS = ["random", "drop-class:1", "difficulty:3@4", "stratified@4", "k-centre@4", "herding@4"]


def test_scores_need_a_store_unless_they_are_to_come(dataset, store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"stratified@4 goes by .*pass --labels STORE"):
        planned(dataset, None, labels=["hard"], selection=["stratified@4"])
    own = [name.partition("@")[0] for name in SELECTIONS]
    for labels, selections in ((["hard"], SELECTIONS), (["soft"], [*SELECTIONS, *own[2:]])):
        asked = {**SMALL, "labels": labels, "selection": selections}
        options = {"out": tmp_path / "s", "overrides": asked, "dry_run": True, "estimate": False}
        plan = engine.sweep_students(dataset.path, None, **options)
        assert plan["trials"] == len(selections)
        assert "taken for granted" in plan["labels"]
        assert plan["training_images"] == (3 * len(selections) - 1) * 4
        with_labels = {**options, "overrides": {**asked, "expert": "ada"}}
        same = engine.sweep_students(dataset.path, store.path, **with_labels)
        assert same["training_images"] == plan["training_images"]
    with pytest.raises(UsageError, match=r"difficulty:0@EPOCH"):
        engine.sweep_students(
            dataset.path,
            None,
            **{**options, "overrides": {**asked, "labels": ["hard"], "selection": "difficulty:0"}},
        )


def test_a_whole_sweep_of_selections_is_explained_and_reported(
    dataset, store, tmp_path: Path
) -> None:
    overrides = {**SMALL, "labels": ["soft", "hard"], "selection": SELECTIONS, "expert": "ada"}
    out = tmp_path / "sweep"
    swept = engine.sweep_students(dataset.path, store.path, out, overrides=overrides)
    assert (swept["failed"], swept["trials"]) == (0, 12)
    assert {row["selection"] for row in swept["table"]} == set(SELECTIONS)
    again = engine.sweep_students(dataset.path, store.path, out, overrides=overrides)
    assert again["status"] == "finished already"
    runner = TrialRunner(dataset, store, choose_arithmetic("fp32"))
    trials = {t.id: t for t in planned(dataset, store, **{**overrides, "ipc": [1]})}
    for file in out.glob("trials/*/*.json"):
        record = read_record(file)
        explained = engine.explain_trial(out, record["id"])
        seen = seen_by(runner, trials[record["id"]])
        assert sorted(explained["subset"]["sample_ids"]) == sorted(seen)
        assert f'selection=["{record["cell"]["selection"]}"]' in explained["command"] or (
            record["cell"]["selection"] == "random"
        )
        scored = "@" in record["cell"]["selection"]
        assert [row["epoch"] for row in explained["scorers"]] == [4] * scored
        if scored:
            (row,) = explained["scorers"]
            assert row["checkpoint"] == store.view("ada").checkpoint_id(4)
            assert row["expert"] == "ada"
    engine.write_report([out], tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "k-centre@4" in page


def test_without_its_store_a_scored_subset_is_not_known(dataset, store, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    overrides = {**SMALL, "labels": ["hard"], "selection": ["herding@4"], "expert": "ada"}
    engine.sweep_students(dataset.path, store.path, out, overrides=overrides)
    (file,) = out.glob("trials/*/*.json")
    explained = engine.explain_trial(out, labels=tmp_path / "gone", trial=file.stem)
    assert "sample_ids" not in explained["subset"]
    assert any("--labels STORE" in note for note in explained["notes"])
    rows = engine.query_results(out, "select scorer_epochs, parent_scorer_codec from trials")
    assert rows["table"] == [{"scorer_epochs": "[4]", "parent_scorer_codec": "dense"}]
