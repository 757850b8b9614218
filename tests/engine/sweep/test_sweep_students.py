"""Students by sample index: the plan, the ledger, the loop, and equality with a teacher online."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import beton_builder
import engine
import labelstore
from engine.augment import apply_operation, draw_operations, draw_parameters
from engine.errors import UsageError
from engine.experiments import select_random
from engine.loading import epoch_order, load_resident
from engine.models import build_model
from engine.records import read_record, sole_writer
from engine.training import Seeds, StudentRecipe, StudentTrainer, open_run
from engine.training.precision import can_compile, choose_arithmetic
from engine.training.student import Subset, student_init

STUDENT = {
    "student.model": "convnet-d2-w8",
    "student.epochs": "4",
    "student.evaluations": "2",
    "student.batch_size": "4",
    "student.precision": "fp32",
}


def sweep(data: Path, store: Path | None, out: Path, **options):
    overrides = STUDENT | options.pop("overrides", {})
    given = {"ipc": [1, 2], "expert_epochs": [1, 3], "seeds": [0, 1], **options}
    if store is None:
        given.pop("expert_epochs")
        overrides["labels"] = "[hard]"
    return engine.sweep_students(data, store, out, overrides=overrides, **given)


def results_by_cell(out: Path) -> dict[tuple, dict]:
    records = [json.loads(f.read_text()) for f in out.glob("trials/*/*.json")]
    return {
        (r["cell"]["ipc"], r["cell"]["expert_epoch"], r["seeds"]["init_seed"]): r["result"]
        for r in records
    }


def test_a_sweep_has_a_trial_for_every_cell_and_seed(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    result = sweep(small_data, small_store, tmp_path / "sweep")
    assert (result["trials"], result["ran"], result["failed"]) == (12, 12, 0)
    expected = {(i, e, s) for i in (1, 2) for e in (1, 3, None) for s in (0, 1)}
    assert set(results_by_cell(tmp_path / "sweep")) == expected
    assert engine.verify_sweep(tmp_path / "sweep")["ok"]


def test_growing_a_grid_runs_only_the_new_cells(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    sweep(small_data, small_store, tmp_path / "sweep", ipc=[1])
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / "sweep").glob("trials/*/*.json")}
    assert sweep(small_data, small_store, tmp_path / "sweep")["ran"] == 6
    assert sweep(small_data, small_store, tmp_path / "sweep")["status"] == "finished already"
    assert all(f.stat().st_mtime_ns == at for f, at in before.items())


def test_results_do_not_depend_on_which_trials_ran_before(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    sweep(small_data, small_store, tmp_path / "all")
    sweep(small_data, small_store, tmp_path / "one", ipc=[2], expert_epochs=[3], seeds=[1])
    every, alone = (results_by_cell(tmp_path / name) for name in ("all", "one"))
    assert alone[2, 3, 1] == every[2, 3, 1]
    assert alone[2, None, 1] == every[2, None, 1]


@pytest.mark.long
def test_a_killed_sweep_resumes_to_the_same_results(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    sweep(small_data, small_store, tmp_path / "whole")
    code = (
        "import engine, sys; engine.sweep_students(*sys.argv[1:], ipc=[1, 2], "
        f"expert_epochs=[1, 3], seeds=[0, 1], overrides={STUDENT!r})"
    )
    out = tmp_path / "killed"
    for wanted in (1, 4, 7):
        command = [sys.executable, "-c", code, str(small_data), str(small_store), str(out)]
        process = subprocess.Popen(command, env=dict(os.environ))
        while process.poll() is None and len(list(out.glob("trials/*/*.json"))) < wanted:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = len(list(out.glob("trials/*/*.json")))
    assert sweep(small_data, small_store, out)["ran"] == 12 - done
    assert results_by_cell(out) == results_by_cell(tmp_path / "whole")
    assert not list(out.rglob("*.partial"))


def test_a_student_from_the_store_equals_one_with_the_teacher_online(
    small_data: Path, small_run: Path, small_store: Path
) -> None:
    """Step for step: the same losses, from the store by index or from the network each step."""
    dataset = beton_builder.open_dataset(small_data)
    labels = np.asarray(dataset.split("train").labels)
    ids = select_random(labels, np.arange(len(labels)), 5, 3, dataset.classes)
    resident = load_resident(dataset, "train", indices=ids)
    recipe = StudentRecipe(
        model="convnet-d2-w8", epochs=6, batch_size=4, evaluations=1, precision="fp32"
    )
    seeds = Seeds(init_seed=1, order_seed=2, augment_seed=3)
    trainer = StudentTrainer(
        recipe.model,
        num_classes=3,
        channels=3,
        resolution=16,
        mean=dataset.mean,
        std=dataset.std,
        arithmetic=choose_arithmetic("fp32"),
    )
    stored = labelstore.open_store(small_store).view().probabilities(2, ids)
    losses: list[float] = []
    trainer.train(
        Subset(images_nchw=resident.images, targets_nk=torch.from_numpy(stored), ids=ids),
        recipe,
        seeds,
        lambda _network: {"test": None, "validation": None},
        on_step=lambda _step, loss: losses.append(float(loss)),
    )

    online = _train_with_teacher_online(dataset, small_run, resident.images, ids, recipe, seeds)
    assert len(losses) == 6 * 4
    # The store rounds logits to float16, which moves a loss of about one by up to 1e-3.
    np.testing.assert_allclose(losses, online, rtol=2e-3)


def _train_with_teacher_online(dataset, run, images, ids, recipe, seeds) -> list[float]:
    shape = {"num_classes": 3, "channels": 3, "resolution": 16}
    teacher = build_model("convnet-d2-w8", init_seed=99, **shape)
    teacher.load_state_dict(open_run(run).weights(2))
    student = build_model("convnet-d2-w8", init_seed=student_init(seeds.init_seed), **shape)
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (dataset.mean, dataset.std))
    normalised = (images / 255 - mean) / std
    optimiser = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    losses = []
    for epoch in range(recipe.epochs):
        for group in optimiser.param_groups:
            group["lr"] = 0.01 * 0.3 ** (epoch // (recipe.epochs // 4))
        order = epoch_order(np.arange(len(ids)), seeds.order_seed, epoch)
        operations = draw_operations(seeds.augment_seed, epoch, 4)
        for number in range(4):
            positions = order[number * 4 : (number + 1) * 4]
            batch = normalised[positions]
            with torch.no_grad():
                targets = teacher(batch).softmax(1)
            uniform = draw_parameters(seeds.augment_seed, epoch, ids[positions])
            augmented = apply_operation(operations[number], batch, torch.from_numpy(uniform))
            optimiser.zero_grad()
            loss = F.cross_entropy(student(augmented), targets)
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    return losses


def test_a_student_may_differ_by_ipc(small_data: Path, small_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    sweep(small_data, small_store, out, overrides={"by_ipc": "{2: {epochs: 8, lr: 0.1}}"})
    records = [json.loads(f.read_text()) for f in out.glob("trials/*/*.json")]
    found = {(r["cell"]["ipc"], r["student"]["epochs"], r["student"]["lr"]) for r in records}
    assert found == {(1, 4, 0.01), (2, 8, 0.1)}
    assert {r["student"]["schedule"]["every"] for r in records} == {1, 2}


def test_a_student_never_starts_from_an_experts_initial_weights(small_run: Path) -> None:
    """Equal seeds would otherwise make it an easier pupil than the others."""
    shape = {"num_classes": 3, "channels": 3, "resolution": 16}
    student = build_model("convnet-d2-w8", init_seed=student_init(0), **shape).state_dict()
    expert = open_run(small_run).weights(0)
    assert not torch.equal(student["classifier.weight"], expert["classifier.weight"])


def test_students_never_see_validation_images(small_data: Path) -> None:
    from engine.sweep.planning.plan import sample_pool

    dataset = beton_builder.open_dataset(small_data)
    labels, candidates = sample_pool(dataset)
    assert len(labels) == 120
    assert len(dataset.validation_indices) > 0
    assert not np.isin(candidates, dataset.validation_indices).any()


def test_the_three_accuracies_are_picked_from_the_evaluations() -> None:
    from engine.sweep.executors.trial_runner import pick_accuracies

    evaluations = [
        {"epoch": 1, "test": 0.5, "validation": 0.4},
        {"epoch": 2, "test": 0.3, "validation": 0.6},
        {"epoch": 3, "test": 0.4, "validation": 0.6},
    ]
    assert pick_accuracies(evaluations) == {
        "final": evaluations[2],
        "selected": evaluations[1],
        "max_on_test": {"epoch": 1, "test": 0.5},
    }
    without = [{"epoch": 1, "test": None, "validation": None}]
    assert pick_accuracies(without)["selected"] is None


def test_hard_labels_need_no_store(small_data: Path, tmp_path: Path) -> None:
    assert sweep(small_data, None, tmp_path / "sweep")["trials"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ipc": [40]}, "IPC 40 is larger than the smallest class"),
        ({"expert_epochs": [9]}, r"epoch 9 is not in the label store.*--epochs 9"),
        ({"executor": "slurm"}, "expected local or ray"),
        ({"ray_address": "auto"}, "executor is local: add --executor ray"),
        ({"gpus_per_worker": 0.25}, "executor is local: add --executor ray"),
        ({"executor": "ray", "workers": 4}, "leave --workers"),
        ({"executor": "ray", "workers_per_device": 2}, "leave --workers"),
        ({"overrides": {"labels": "[hard, 'generated:0.9']"}}, "leave --expert-epochs out"),
        ({"trackers": ["tensorbord"]}, "unknown tracker 'tensorbord'"),
        ({"overrides": {"student.model": "convnet-d9"}}, "unknown model"),
        ({"overrides": {"student.epoch": "3"}}, "did you mean epochs"),
        ({"seeds": [0, 0]}, "same value twice"),
    ],
)
def test_what_can_not_work_is_refused_before_anything_starts(
    small_data: Path, small_store: Path, tmp_path: Path, options: dict, message: str
) -> None:
    for dry_run in (True, False):
        with pytest.raises(UsageError, match=message):
            sweep(small_data, small_store, tmp_path / "sweep", dry_run=dry_run, **options)
    assert not (tmp_path / "sweep").exists()


def test_a_diverged_student_is_recorded_as_failed_and_the_rest_goes_on(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    result = sweep(
        small_data, small_store, out, ipc=[1], seeds=[0], overrides={"student.lr": "1e30"}
    )
    assert result["failed"] == result["trials"] == 3
    assert "lower the learning rate" in result["errors"][0]
    good = sweep(small_data, small_store, out, ipc=[1], seeds=[0])
    assert (good["ran"], good["failed"]) == (3, 0)


def test_a_damaged_trial_is_found_and_run_again(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    sweep(small_data, small_store, out, ipc=[1], seeds=[0])
    file = sorted(out.glob("trials/*/*.json"))[0]
    before = read_record(file)["result"]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    assert not engine.verify_sweep(out)["ok"]
    assert sweep(small_data, small_store, out, ipc=[1], seeds=[0])["ran"] == 1
    assert read_record(file)["result"] == before


def test_hard_labels_added_later_keep_what_is_known_of_the_expert(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    sweep(small_data, small_store, out, ipc=[1], seeds=[0])
    before = read_record(out / "sweep.json")["experts"]
    assert set(before[0]["epochs"]["3"]) == {"test", "train", "label_entropy"}
    sweep(small_data, None, out, ipc=[2], seeds=[0])
    assert read_record(out / "sweep.json")["experts"] == before


def test_a_second_driver_is_refused_and_changes_nothing(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    sweep(small_data, small_store, out, ipc=[1], seeds=[0])
    before = (out / "sweep.json").read_bytes()
    with sole_writer(out), pytest.raises(UsageError, match="another process"):
        sweep(small_data, small_store, out, ipc=[2], seeds=[0])
    assert (out / "sweep.json").read_bytes() == before


@pytest.mark.compiled
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_student_repeats_its_bytes_after_another_and_follows_the_eager_one(
    small_data: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Weights are replaced under the compiled code; nothing of trial B may stay in trial A."""
    if not can_compile():
        pytest.skip("torch.compile needs a C++ compiler, and none is here")
    dataset = beton_builder.open_dataset(small_data)
    resident = load_resident(dataset, "train", indices=np.arange(20))
    targets = torch.eye(3)[resident.labels]
    recipe = StudentRecipe(model="convnet-d2-w8", epochs=4, batch_size=8, evaluations=1)

    def losses(trainer: StudentTrainer, seed: int) -> list[float]:
        seen: list[float] = []
        trainer.train(
            Subset(images_nchw=resident.images, targets_nk=targets, ids=np.arange(20)),
            recipe,
            Seeds(init_seed=seed, order_seed=seed, augment_seed=seed),
            lambda _network: {"test": None, "validation": None},
            on_step=lambda _step, loss: seen.append(float(loss)),
        )
        return seen

    shape = {"num_classes": 3, "channels": 3, "resolution": 16}
    normalisation = {"mean": dataset.mean, "std": dataset.std}
    compiled = StudentTrainer(
        recipe.model, **shape, **normalisation, arithmetic=choose_arithmetic(precision)
    )
    assert compiled.network.arithmetic.compiled
    first, other, again = (losses(compiled, seed) for seed in (0, 1, 0))
    assert first == again != other
    assert compiled.network.compile_seconds > 0
    monkeypatch.setenv("ENGINE_EAGER", "1")
    eager = StudentTrainer(
        recipe.model, **shape, **normalisation, arithmetic=choose_arithmetic("fp32")
    )
    assert not eager.network.arithmetic.compiled
    tolerance = 1e-4 if precision == "fp32" else 0.05
    np.testing.assert_allclose(first, losses(eager, 0), rtol=tolerance)


def test_a_dry_run_counts_trials_and_writes_nothing(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    plan = sweep(small_data, small_store, tmp_path / "sweep", dry_run=True)
    assert (plan["trials"], plan["trials_to_run"]) == (12, 12)
    assert plan["training_images"] == 4 * 3 * (1 + 2) * 6
    assert not (tmp_path / "sweep").exists()
