"""A sweep's head says which cells were asked for, so that a report knows what is missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from plan_cases import EPOCHS, SMALL, STUDENT, write_store

import beton_builder
import engine
import labelstore
from engine.analysis import missing_runs, parse_trial, read_asked, split_into_panels
from engine.records import write_record
from engine.sweep import Trial, load_grids, plan_trials
from engine.sweep.planning.asked import asked_cells, differing_keys


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> beton_builder.Dataset:
    """Three classes of 125 images, so that the presets' 100 images per class are there."""
    folder = tmp_path_factory.mktemp("asked")
    random = np.random.default_rng(0)
    for split, count in (("train", 125), ("test", 2)):
        for name in ("ant", "bee", "cat"):
            (folder / "source" / split / name).mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
                image.save(folder / "source" / split / name / f"{number:03d}.png")
    beton_builder.build_beton(folder / "source", folder / "data", workers=1)
    return beton_builder.open_dataset(folder / "data")


@pytest.fixture(scope="module")
def store(
    dataset: beton_builder.Dataset, tmp_path_factory: pytest.TempPathFactory
) -> labelstore.LabelStore:
    path = tmp_path_factory.mktemp("store") / "labels.zarr"
    return write_store(path, dataset, views=("plain", "flipped"))


def record(trial: Trial, accuracy: float) -> dict[str, Any]:
    """What the ledger would have of a trial that came out so."""
    at = {"epoch": trial.student.epochs, "test": accuracy, "validation": accuracy}
    result = {"final": at, "selected": at, "max_on_test": at, "train_loss": 1.0}
    return {**trial.identity(), "status": "done", "result": result, "seconds": {"steps": 1.0}}


def run_key(axes: Mapping[str, Any], ipc: int, epoch: int | None, seeds: Any) -> str:
    """What tells a run from every other one, as the analysis sees it."""
    return repr((sorted((k, v) for k, v in axes.items() if v is not None), ipc, epoch, seeds))


def keys_of_asked(trials: Sequence[Trial]) -> Counter[str]:
    cells = read_asked(json.loads(json.dumps(asked_cells(trials))))
    return Counter(
        run_key(cell.axes, cell.ipc, cell.expert_epoch, seeds)
        for cell in cells
        for seeds in cell.seeds
    )


def keys_of_records(trials: Sequence[Trial]) -> Counter[str]:
    parsed = [parse_trial(record(trial, 0.5)) for trial in trials]
    return Counter(run_key(t.axes, t.ipc, t.expert_epoch, t.seeds) for t in parsed)


def some(values: Sequence[Any], most: int = 2) -> st.SearchStrategy[Any]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique_by=repr)


grids = st.fixed_dictionaries(
    {"ipc": some([1, 2, 5], 3), "expert_epochs": some([*EPOCHS, "all", "best", "4-9:5"])},
    optional={
        "labels": some(["soft", "hard", "temperature:2", "temperature:3+hard"]),
        "temperature": some([1.0, 2.0]),
        "seeds": some([0, 1, 2]),
        "subset_seed": some([0, 7]),
        "expert": st.sampled_from([["ada"], ["ada", "bob"], "all"]),
        "view": some(["plain", "flipped"]),
        "ensemble": some([None, [4, 7], {"epochs": [4, 9], "experts": ["ada", "bob"]}]),
        "student.lr": some([0.01, 0.1]),
        "student.model": some(["convnet-d2-w8", "convnet-d1-w8"]),
        "student.optimiser": some(["sgd", "adamw"]),
        "by_ipc": st.fixed_dictionaries(
            {},
            optional={
                1: st.fixed_dictionaries({"expert_epochs": some(EPOCHS)}),
                5: st.fixed_dictionaries(
                    {"lr": some([0.02, 0.1])}, optional={"epochs": st.just(6)}
                ),
            },
        ),
    },
)


def plan(
    dataset: beton_builder.Dataset, store: labelstore.LabelStore, blocks: Sequence[dict[str, Any]]
) -> list[Trial]:
    asked = [load_grids(None, {**SMALL, "expert": "ada", **block})[0] for block in blocks]
    return plan_trials(asked, dataset, store)


@settings(max_examples=40)
@given(st.lists(grids, min_size=1, max_size=2))
def test_what_is_recorded_of_any_plan_are_its_trials_each_once(dataset, store, blocks) -> None:
    trials = plan(dataset, store, blocks)
    assert keys_of_asked(trials) == keys_of_records(trials)


@settings(max_examples=40)
@given(st.lists(grids, min_size=1, max_size=2), st.randoms(use_true_random=False))
def test_of_any_plan_exactly_the_trials_that_did_not_run_are_missing(
    dataset, store, blocks, random
) -> None:
    trials = plan(dataset, store, blocks)
    done = [trial for trial in trials if random.random() < 0.5]
    panels = split_into_panels(
        [parse_trial(record(trial, 0.5)) for trial in done], read_asked(asked_cells(trials))
    )
    found = Counter(
        (cell.ipc, cell.expert_epoch, seeds)
        for _, cell, lacking in missing_runs(panels)
        for seeds in lacking
    )
    assert found == Counter(
        (trial.ipc, trial.cell["expert_epoch"], tuple(sorted(vars(trial.seeds).items())))
        for trial in trials
        if trial not in done
    )
    asked = {(trial.ipc, trial.cell["expert_epoch"]) for trial in trials}
    assert {key for panel in panels for key in panel.cells} == asked


def test_a_plan_differs_in_the_axes_that_it_explores(dataset, store) -> None:
    block = {"ipc": [1, 2], "expert_epochs": [4, 7], "labels": ["soft", "hard"]}
    assert differing_keys(plan(dataset, store, [block])) == ["ipc", "labels", "expert_epoch"]
    assert differing_keys(plan(dataset, store, [{"seeds": [0, 1]}])) == []


PAPER = (4, 7, 10, 13, 15, 24, 36, 41, 57, 125)


@pytest.fixture(scope="module")
def papers_store(
    dataset: beton_builder.Dataset, tmp_path_factory: pytest.TempPathFactory
) -> labelstore.LabelStore:
    path = tmp_path_factory.mktemp("papers") / "labels.zarr"
    return write_store(path, dataset, names={"ada": "ada"}, validation={}, test={}, epochs=PAPER)


def write_sweep(folder: Path, trials: Sequence[Trial], done: Sequence[Trial]) -> Path:
    """A sweep of made-up results in which the best epoch is 4 times the square root of IPC."""
    for trial in done:
        epoch = trial.cell["expert_epoch"] or 1
        off = abs(np.log(epoch / (4 * trial.ipc**0.5)))
        accuracy = round(0.6 - 0.05 * off + 0.001 * (trial.seeds.init_seed % 2), 4)
        write_record(folder / "trials" / trial.id[:2] / f"{trial.id}.json", record(trial, accuracy))
    head = {"dataset": {"id": trials[0].dataset.id, "name": "tiny"}, "experts": []}
    write_record(folder / "sweep.json", {"kind": "sweep", **head, "asked": asked_cells(trials)})
    return folder


def column(folder: Path, epoch: str) -> list[str]:
    """A row of the final test accuracies, one field per IPC."""
    for line in (folder / "tables" / "grid.md").read_text().splitlines():
        if line.startswith(f"| {epoch} |"):
            return [field.strip() for field in line.split("|")[2:-1]]
    raise AssertionError(f"no row of epoch {epoch}")


def test_the_papers_table_shows_what_it_owes_and_leaves_the_rest_blank(
    dataset, papers_store, tmp_path: Path
) -> None:
    trials = plan_trials(load_grids("paper/table2-cifar100"), dataset, papers_store)
    done = [t for t in trials if t.ipc < 50 or (t.ipc == 50 and t.seeds.init_seed < 3)]
    sweep = write_sweep(tmp_path / "sweep", trials, done)
    report = engine.write_report([sweep], tmp_path / "report")
    assert report["trials"] == {"done": 13, "failed": 0, "not_run": 7}
    assert (report["panels"], report["notes"]) == (1, [])
    assert column(tmp_path / "report", "13")[1:] == ["·", "·", "·"]
    one, ten, fifty, hundred = column(tmp_path / "report", "125")
    assert (one, ten, hundred) == ("·", "·", "not run")
    assert fifty.endswith("(n = 3)")


def test_the_papers_figure_marks_the_best_epoch_of_every_ipc(
    dataset, papers_store, tmp_path: Path
) -> None:
    trials = plan_trials(load_grids("paper/epoch-sweep-cifar100"), dataset, papers_store)
    sweep = write_sweep(tmp_path / "sweep", trials, [t for t in trials if t.ipc < 100])
    report = engine.write_report([sweep], tmp_path / "report")
    assert report["trials"] == {"done": 36, "failed": 0, "not_run": 9}
    assert "figures/accuracy_over_expert_epoch.png" in report["files"]
    assert "figures/best_epoch_over_ipc.png" in report["files"]
    page = (tmp_path / "report" / "index.html").read_text()
    assert (
        "So far the best expert epoch grows with IPC: 4 at IPC 1, 10 at IPC 5, 15 at IPC 10, "
        "24 at IPC 50."
    ) in page
    assert "Every cell has one run" in page
    assert "Runs are missing at IPC 100" in page


def test_a_sweep_records_what_it_was_asked_for(dataset, tmp_path: Path) -> None:
    """One IPC has two learning rates; a trial that was lost since is missing, nothing else is."""
    plan = {"labels": ["hard"], "seeds": [0], "by_ipc": {2: {"lr": [0.1, 0.2]}}}
    engine.sweep_students(
        dataset.path,
        None,
        tmp_path / "sweep",
        ipc=[1, 2],
        overrides={**STUDENT, "student.model": "convnet-d1-w8", **plan},
    )
    assert engine.write_report([tmp_path / "sweep"], tmp_path / "r")["trials"]["not_run"] == 0
    next((tmp_path / "sweep").glob("trials/*/*.json")).unlink()
    report = engine.write_report([tmp_path / "sweep"], tmp_path / "r")
    assert report["trials"] == {"done": 2, "failed": 0, "not_run": 1}
    assert report["notes"] == []


@pytest.mark.parametrize("preset", ["paper/table2-cifar100", "paper/epoch-sweep-cifar100"])
def test_a_preset_takes_little_room(dataset, papers_store, preset: str) -> None:
    trials = plan_trials(load_grids(preset, {"seeds": list(range(200))}), dataset, papers_store)
    one = json.dumps(asked_cells([t for t in trials if t.seeds.init_seed == 0]))
    all_ = json.dumps(asked_cells(trials))
    assert len(one) < 2000
    assert len(all_) - len(one) < 100 * 200  # for each of 200 seeds, not for each trial
