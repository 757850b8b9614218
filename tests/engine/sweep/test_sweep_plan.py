"""From a plan to trials: axes multiply, ids say what a trial is, and what can't work is refused."""

from __future__ import annotations

import itertools
import math
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_cases import EPOCHS, SMALL, planned, write_store

import beton_builder
import engine
import labelstore
from engine.analysis import parse_plan, parse_trial
from engine.configuration import preset_names
from engine.errors import ConfigurationError, UsageError
from engine.sweep import Trial, load_grids, plan_trials
from engine.sweep.planning.plan import amount_of_work, recorded_plan


@pytest.fixture(scope="module")
def dataset(small_data: Path) -> beton_builder.Dataset:
    return beton_builder.open_dataset(small_data)


@pytest.fixture(scope="module")
def store(
    dataset: beton_builder.Dataset, tmp_path_factory: pytest.TempPathFactory
) -> labelstore.LabelStore:
    return write_store(tmp_path_factory.mktemp("two") / "labels.zarr", dataset)


def epochs_of(trials: list[Trial]) -> list[tuple[int, ...]]:
    return [trial.teacher.epochs for trial in trials if trial.teacher is not None]


axes = st.fixed_dictionaries(
    {
        "ipc": st.lists(st.integers(1, 5), min_size=1, max_size=3, unique=True),
        "expert_epochs": st.lists(st.sampled_from(EPOCHS), min_size=1, max_size=3, unique=True),
        "expert": st.sampled_from([["ada"], ["bob"], ["ada", "bob"]]),
        "labels": st.lists(
            st.sampled_from(["soft", "hard", "temperature:2"]), min_size=1, max_size=3, unique=True
        ),
        "seeds": st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True),
        "student.lr": st.lists(st.sampled_from([0.1, 0.2, 0.4]), min_size=1, unique=True),
        "student.epochs": st.lists(st.integers(1, 9), min_size=1, max_size=2, unique=True),
        "student.optimiser": st.lists(st.sampled_from(["sgd", "adamw"]), min_size=1, unique=True),
    }
)


@given(axes)
def test_axes_multiply_and_every_trial_has_its_own_id(dataset, store, chosen) -> None:
    trials = planned(dataset, store, **chosen)
    teachers = len(chosen["expert"]) * len(chosen["expert_epochs"])
    cells = sum(1 if labels == "hard" else teachers for labels in chosen["labels"])
    repeats = ("ipc", "seeds", "student.lr", "student.epochs", "student.optimiser")
    expected = cells * math.prod(len(chosen[name]) for name in repeats)
    assert len(trials) == expected
    assert len({trial.id for trial in trials}) == expected
    lengths = {(t.student.epochs, t.student.schedule.every) for t in trials}
    assert lengths == {(e, max(1, e // 4)) for e in chosen["student.epochs"]}


@settings(max_examples=30)
@given(axes, axes)
def test_growing_a_plan_keeps_every_trial_it_had(dataset, store, small, more) -> None:
    both = {key: list(dict.fromkeys([*small[key], *more[key]])) for key in small}
    before = {trial.id for trial in planned(dataset, store, **small)}
    assert before <= {trial.id for trial in planned(dataset, store, **both)}


@settings(max_examples=30)
@given(axes, axes)
def test_blocks_are_united_and_what_they_share_is_planned_once(dataset, store, one, two) -> None:
    grids = [load_grids(None, {**SMALL, **chosen})[0] for chosen in (one, two)]
    united = [trial.id for trial in plan_trials(grids, dataset, store)]
    apart = [trial.id for grid in grids for trial in plan_trials(grid, dataset, store)]
    assert len(united) == len(set(united))
    assert set(united) == set(apart)


def test_a_file_of_blocks_shares_what_stands_beside_them(tmp_path: Path, dataset, store) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(
        "student: {model: convnet-d2-w8, epochs: 8, optimiser: {weight_decay: 0.001}}\n"
        "labels: [hard]\n"
        "grids:\n"
        "  - {ipc: [1, 2], student: {lr: 0.5}}\n"
        "  - {ipc: [2], student: {lr: 0.5}, seeds: [0, 7]}\n"
    )
    grids = load_grids(file, {"student.epochs": 4})
    trials = plan_trials(grids, dataset, None)
    assert len(trials) == 2 * 3 + 1
    assert {t.student.epochs for t in trials} == {4}
    assert {t.student.lr for t in trials} == {0.5}
    assert {t.student.optimiser.weight_decay for t in trials} == {0.001}
    file.write_text("grids: [{ipc: [1]}, {ipcs: [2]}]\n")
    with pytest.raises(ConfigurationError, match=r"grids\[1\] of .*unknown key ipcs; did you mean"):
        load_grids(file)
    file.write_text("grids: {ipc: [1]}\n")
    with pytest.raises(ConfigurationError, match="grids must be a list of blocks"):
        load_grids(file)


def test_epochs_may_depend_on_ipc(dataset, store) -> None:
    trials = planned(
        dataset,
        store,
        ipc=[1, 2, 5],
        by_ipc={1: {"expert_epochs": [4], "lr": [0.1, 0.2]}, 5: {"expert_epochs": "7-9:2"}},
        expert_epochs="all",
    )
    found = {(t.ipc, t.teacher.epochs[0], t.student.lr) for t in trials}
    expected = {(1, 4, 0.1), (1, 4, 0.2), (5, 7, 0.01), (5, 9, 0.01)}
    assert found == expected | {(2, epoch, 0.01) for epoch in EPOCHS}


def test_what_is_asked_for_by_name_holds_at_every_ipc(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text("by_ipc: {10: {expert_epochs: [36], epochs: 50, lr: 0.1}}\n")
    (grid,) = load_grids(file, {"expert_epochs": [13], "student.lr": 0.2})
    assert grid.expert_epochs_at(10) == [13]
    (student,) = grid.students_at(10)
    assert (student.epochs, student.lr) == (50, 0.2)
    both = {"student.lr": 0.2, "by_ipc": {10: {"lr": 0.3}}}
    assert load_grids(file, both)[0].students_at(10)[0].lr == 0.3


@pytest.mark.parametrize(
    ("word", "ada", "bob"), [("best", 4, 9), ("best-on-test", 7, 4)], ids=["validation", "test"]
)
def test_best_is_the_first_epoch_of_greatest_accuracy(
    dataset, store, word: str, ada: int, bob: int
) -> None:
    assert epochs_of(planned(dataset, store, expert_epochs=word)) == [(ada,)]
    trials = planned(dataset, store, expert="all", expert_epochs=[word, 9])
    assert {(t.teacher.experts, t.teacher.epochs) for t in trials} == {
        (("ada",), (ada,)),
        (("ada",), (9,)),
        (("bob",), (bob,)),
        (("bob",), (9,)),
    }


def test_best_asks_for_experts_that_held_images_out_and_names_the_word_for_others(
    dataset, tmp_path: Path
) -> None:
    store = write_store(tmp_path / "l.zarr", dataset, validation={})
    with pytest.raises(UsageError, match=r"epoch 4, 7, 9 .*--hold-out.*best-on-test"):
        planned(dataset, store, expert_epochs="best")
    assert epochs_of(planned(dataset, store, expert_epochs="best-on-test")) == [(7,)]


def test_best_on_test_says_where_the_accuracy_is_missing(dataset, tmp_path: Path) -> None:
    silent = write_store(tmp_path / "l.zarr", dataset, test={"ada": {7: 0.8, 9: 0.5}})
    with pytest.raises(
        UsageError, match=r"test accuracy of every epoch.*epoch 4 .*--expert-epochs"
    ):
        planned(dataset, silent, expert_epochs="best-on-test")


def test_an_ensemble_of_epochs_is_one_trial_with_all_of_them(dataset, store) -> None:
    (trial,) = planned(dataset, store, ensemble=[[9, 4]])
    assert trial.teacher.epochs == (4, 9)
    assert len(trial.teacher.checkpoints) == 2
    assert trial.cell["expert_epoch"] == 9
    assert trial.cell["ensemble"] == "4+9"
    (single,) = planned(dataset, store, expert_epochs=[9])
    assert "ensemble" not in single.cell
    assert planned(dataset, store, ensemble=[[9]])[0].id == single.id


def test_an_ensemble_of_experts_takes_the_epochs_of_the_grid(dataset, store) -> None:
    trials = planned(dataset, store, ensemble=[["ada", "bob"], None], expert_epochs=[4, 7])
    found = ["+".join(sorted(trial.teacher.experts)) for trial in trials]
    assert found == ["ada+bob"] * 2 + ["ada"] * 2
    assert epochs_of(trials) == [(4,), (7,), (4,), (7,)]
    (both,) = planned(dataset, store, ensemble=[{"experts": "all", "epochs": "all"}])
    assert (set(both.teacher.experts), both.teacher.epochs) == ({"ada", "bob"}, EPOCHS)
    with pytest.raises(UsageError, match=r"best is another epoch for each.*ada 4, bob 9"):
        planned(dataset, store, ensemble=[["ada", "bob"]], expert_epochs="best")


def test_an_id_says_what_labels_are_and_not_what_they_are_called(dataset, tmp_path: Path) -> None:
    plain = write_store(tmp_path / "a.zarr", dataset)
    renamed = write_store(tmp_path / "b.zarr", dataset, names={"ada": "zoe", "bob": "bob"})
    names = {"experts": ["ada", "bob"]}, {"experts": ["zoe", "bob"]}
    (one,) = planned(dataset, plain, expert=None, ensemble=[{**names[0], "epochs": [4, 7]}])
    (other,) = planned(dataset, renamed, expert=None, ensemble=[{**names[1], "epochs": [4, 7]}])
    assert one.id == other.id
    assert one.teacher.experts != other.teacher.experts


@pytest.mark.parametrize(
    "change",
    [
        {"ipc": [2]},
        {"expert_epochs": [7]},
        {"expert": "bob"},
        {"view": "flip"},
        {"codec": "topk:1"},
        {"labels": ["hard"]},
        {"temperature": [2]},
        {"labels": ["temperature:2"]},
        {"ensemble": [[4, 7]]},
        {"subset_seed": 1},
        {"init_seed": 1},
        {"order_seed": 1},
        {"augment_seed": 1},
        {"student.lr": 0.5},
        {"student.evaluations": 1},
        {"student.schedule.factor": 0.5},
        {"student.resolution": 8},
    ],
)
def test_whatever_changes_the_result_changes_the_id(dataset, tmp_path: Path, change) -> None:
    store = write_store(tmp_path / "l.zarr", dataset, views=("plain", "flip"), epochs=(4, 7))
    labelstore.convert_labels(tmp_path / "l.zarr", "topk:1", expert="ada", view="plain")
    (before,) = planned(dataset, store)
    (after,) = planned(dataset, store, **change)
    assert before.id != after.id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"labels": ["temperature:2"]}, {"temperature": [2.0]}),
        ({"labels": ["temperature:2+hard"]}, {"labels": ["hard"], "expert_epochs": [7]}),
        ({"student.schedule.every": 1}, {}),
        ({"student.resolution": 16}, {}),
        ({"seeds": [3]}, {f"{p}_seed": 3 for p in ("subset", "init", "order", "augment")}),
    ],
)
def test_what_does_not_change_the_result_does_not_change_the_id(dataset, store, one, other) -> None:
    assert [t.id for t in planned(dataset, store, **one)] == [
        t.id for t in planned(dataset, store, **other)
    ]


def test_seeds_of_their_own_multiply_with_the_joint_ones(dataset, store) -> None:
    trials = planned(dataset, store, seeds=[5, 6], subset_seed=[0, 1], order_seed=9)
    found = {(t.seeds.subset_seed, t.seeds.init_seed, t.seeds.order_seed) for t in trials}
    assert found == {(subset, seed, 9) for subset in (0, 1) for seed in (5, 6)}
    assert all(t.seeds.augment_seed == t.seeds.init_seed for t in trials)
    apart = {f"{part}_seed": [0, 1] for part in ("subset", "init", "order", "augment")}
    assert len(planned(dataset, store, seeds=[7, 8, 9], **apart)) == 16


def test_a_records_cell_can_be_read_by_the_analysis(dataset, store) -> None:
    outcome = {"status": "done", "result": dict.fromkeys(("final", "selected", "max_on_test"))}
    options = {"labels": ["soft", "hard", "temperature:2"], "ensemble": [[4, 7], None]}
    for trial in planned(dataset, store, **options):
        read = parse_trial(trial.identity() | outcome)
        assert read.labels == trial.cell["labels"]
        assert read.expert_epoch == (None if trial.teacher is None else trial.teacher.epochs[-1])
        assert read.axes["selection"] == "random"
        assert read.axes["temperature"] == (
            None if read.labels == "hard" else trial.labels.temperature
        )


def test_trials_pickle_with_the_same_id(dataset, store) -> None:
    for trial in planned(dataset, store, labels=["soft", "hard"], ensemble=[[4, 7]]):
        copy = pickle.loads(pickle.dumps(trial))
        assert (copy, copy.id, copy.shape) == (trial, trial.id, trial.shape)


def test_a_shape_is_what_a_compiled_step_depends_on(dataset, store) -> None:
    shapes = [t.shape for t in planned(dataset, store, ipc=[1, 2, 4], seeds=[0, 1])]
    assert [s.batch_sizes for s in shapes] == [(3,)] * 2 + [(4,)] * 2 + [(4, 2)] * 2
    (other,) = planned(dataset, store, **{"student.lr": 0.3, "student.epochs": 9})
    assert other.shape == shapes[0]
    (wider,) = planned(dataset, store, **{"student.model": "convnet-d2-w16"})
    assert wider.shape != shapes[0]


def test_trials_of_one_shape_and_subset_are_next_to_each_other(dataset, store) -> None:
    models = ["convnet-d2-w8", "convnet-d1-w4"]
    trials = planned(
        dataset, store, ipc=[1, 2], seeds=[0, 1], expert="all", **{"student.model": models}
    )
    keys = [(trial.shape, trial.subset) for trial in trials]
    assert len(list(itertools.groupby(keys))) == len(set(keys)) == 8


def test_work_counts_training_and_evaluation(dataset, store) -> None:
    (trial,) = planned(dataset, store, ipc=[2])
    evaluated = 2 * (36 + len(dataset.validation_indices))
    assert (trial.training_images, trial.evaluation_images) == (2 * 3 * 4, evaluated)
    assert trial.work == pytest.approx(24 + evaluated / 3)
    total = amount_of_work(planned(dataset, store, ipc=[1, 2], seeds=[0, 1]))
    assert total["training_images"] == 2 * 4 * 3 * (1 + 2)
    assert [(row["ipc"], row["trials"]) for row in total["shapes"]] == [(2, 2), (1, 2)]


def test_the_bytes_of_records_are_about_those_written(dataset, store, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    plan = engine.sweep_students(
        dataset.path, store.path, out, overrides={**SMALL, "expert": "ada"}, dry_run=True
    )
    engine.sweep_students(dataset.path, store.path, out, overrides={**SMALL, "expert": "ada"})
    (file,) = out.glob("trials/*/*.json")
    assert plan["record_bytes"] == pytest.approx(file.stat().st_size, rel=0.3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expert_epochs": "4-9"}, r"epochs 5, 6, 8 are not in the label store.*--epochs 5,6,8"),
        ({"by_ipc": {1: {"expert_epochs": [5]}}}, "epoch 5 is not in the label store"),
        ({"ensemble": [[4, 5]]}, "epoch 5 is not in the label store"),
        ({"ipc": [1, 40]}, "IPC 40 is larger than the smallest class"),
        ({"expert": "adda"}, "no labels of expert 'adda' under 'plain'; did you mean ada"),
        ({"ensemble": [["ada", "eve"]]}, "no labels of expert 'eve'"),
        ({"expert": None}, "several experts"),
        ({"view": "flip"}, "no labels of expert 'ada' under 'flip'"),
        ({"codec": "topk:1"}, "in codec topk:1, found dense"),
        ({"codec": "zip"}, "codec"),
        ({"labels": ["temperature:0"]}, "temperature:0: expected a finite number above 0"),
        ({"student.model": ["convnet-d2", "convnet-d9"]}, "unknown model 'convnet-d9'"),
        ({"student.model": "convnet-d5"}, "needs at least 32 pixels; these images have 16"),
    ],
)
def test_what_can_not_work_is_refused(dataset, store, changes, message: str) -> None:
    with pytest.raises((UsageError, labelstore.LabelStoreError), match=message):
        planned(dataset, store, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temprature": 2}, "unknown key temprature; did you mean temperature"),
        ({"by_ipc": {10: {"expert_epoch": 3}}}, "unknown key by_ipc.10.expert_epoch; did you mean"),
        ({"student.optimiser": {"kin": "sgd"}}, r"student.optimiser.kin; did you mean kind"),
        ({"labels": ["sofd"]}, "did you mean soft"),
        ({"selection": "randm"}, "did you mean random"),
        ({"ensemble": [4, 7]}, r"a list of epochs or of experts, such as \[\[4\]\]"),
        ({"ensemble": [[4, "ada"]]}, "for both write"),
        ({"student.lr": [0.1, 0.1]}, "same value twice"),
        ({"student.lr": []}, r"student\.lr"),
        ({"expert_epochs": "9-4"}, "runs backwards"),
    ],
)
def test_what_can_not_be_meant_is_refused_by_name(changes, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_grids(None, changes)


def test_soft_labels_need_a_store(dataset) -> None:
    with pytest.raises(UsageError, match="soft labels need a label store"):
        planned(dataset, None)
    assert len(planned(dataset, None, labels=["hard", "temperature:2+hard"])) == 1


def test_a_plain_grid_is_recorded_as_a_report_reads_it(dataset, store) -> None:
    grids = load_grids(
        None, {**SMALL, "expert": "ada", "expert_epochs": "4-9:5,7", "seeds": [0, 1]}
    )
    trials = plan_trials(grids, dataset, store)
    plan = parse_plan(recorded_plan(grids, trials), [])
    assert plan.expert_epochs == (4, 7, 9)
    assert len(plan.seeds) == 2
    outcome = {"status": "done", "result": dict.fromkeys(("final", "selected", "max_on_test"))}
    assert all(plan.concerns(parse_trial(trial.identity() | outcome).axes) for trial in trials)


@pytest.mark.parametrize("changes", [{"ensemble": [[4, 7]]}, {"student.lr": [0.1, 0.2]}])
def test_other_grids_are_recorded_as_asked(dataset, store, changes) -> None:
    grids = load_grids(None, {**SMALL, "expert": "ada", **changes})
    recorded = recorded_plan(grids, plan_trials(grids, dataset, store))
    assert parse_plan(recorded, []) is None
    assert len(recorded["grids"]) == 1


@pytest.mark.parametrize("word", ["best", "best-on-test"])
def test_by_what_an_epoch_was_chosen_stays_in_the_recorded_plan(dataset, store, word: str) -> None:
    grids = load_grids(None, {**SMALL, "expert": "ada", "expert_epochs": word})
    recorded = recorded_plan(grids, plan_trials(grids, dataset, store))
    assert [grid["expert_epochs"] for grid in recorded["grids"]] == [[word]]


def test_the_papers_tables_come_with_the_package() -> None:
    assert {"paper/table2-cifar100", "paper/epoch-sweep-cifar100"} <= set(preset_names())
    (table,) = load_grids("paper/table2-cifar100")
    assert [table.expert_epochs_at(ipc) for ipc in table.ipc] == [[13], [36], [125], [125]]
    assert {s.subset_seed for s in table.seed_sets()} == {0}
    assert len(table.seed_sets()) == 5
    (figure,) = load_grids("paper/epoch-sweep-cifar100")
    assert figure.expert_epochs == [4, 7, 10, 15, 24, 41, 57, 125]
    for grid in (table, figure):
        (student,) = grid.student.recipes()
        assert (student.epochs, student.lr, student.schedule.every) == (3000, 0.01, 750)
