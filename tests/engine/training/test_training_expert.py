"""The expert run: recipe, checkpoints, resume, ranks, and what is refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import beton_builder
import engine
import labelstore
from engine.augment import apply_operation, draw_operations, draw_parameters
from engine.errors import (
    ConfigurationError,
    DamageError,
    MismatchError,
    RankError,
    UsageError,
)
from engine.loading import epoch_order
from engine.models import build_model
from engine.records import sole_writer
from engine.sweep import load_grids, plan_trials
from engine.sweep.head import sweep_head
from engine.training import open_run
from engine.training.launch import run_ranks

QUICK = {"batch_size": 32, "precision": "fp32"}
MODEL = "convnet-d2-w8"


def train(data: Path, out: Path, **options):
    return engine.train_expert(data, out, **{"model": MODEL, "overrides": QUICK, **options})


def checkpoint_bytes(run: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in sorted(run.glob("checkpoints/*.safetensors"))}


def test_epochs_run_from_the_initial_weights_to_the_last(small_run: Path) -> None:
    run = open_run(small_run)
    assert run.epochs() == [0, 1, 2, 3]
    initial = build_model(MODEL, num_classes=3, channels=3, resolution=16, init_seed=0)
    for name, tensor in run.weights(0).items():
        assert torch.equal(tensor, initial.state_dict()[name])


def test_the_expert_learns(small_data: Path, tmp_path: Path) -> None:
    result = train(small_data, tmp_path / "run", epochs=12, lr=0.05)
    assert result["test_accuracy"] > 0.8


def train_split(dataset: beton_builder.Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised images (n, c, h, w) float32 and labels (n,) int64, read by no loader."""
    beton = dataset.split("train")
    images = np.stack([beton.image(i) for i in range(beton.num_samples)])
    mean, std = np.array(dataset.mean), np.array(dataset.std)
    normalised = torch.from_numpy(((images / 255 - mean) / std).astype(np.float32))
    return normalised.permute(0, 3, 1, 2).contiguous(), torch.from_numpy(np.asarray(beton.labels))


def test_training_equals_a_plain_pytorch_loop(small_data: Path, small_run: Path) -> None:
    normalised, labels = train_split(beton_builder.open_dataset(small_data))
    model = build_model(MODEL, num_classes=3, channels=3, resolution=16, init_seed=0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in range(3):
        order = epoch_order(np.arange(len(labels)), 0, epoch)
        operations = draw_operations(0, epoch, 4)
        for number in range(4):
            ids = order[number * 32 : (number + 1) * 32]
            uniform = torch.from_numpy(draw_parameters(0, epoch, ids))
            batch = apply_operation(operations[number], normalised[ids], uniform)
            optimiser.zero_grad()
            F.cross_entropy(model(batch), labels[ids]).backward()
            optimiser.step()
    stored = open_run(small_run).weights(3)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(stored[name], tensor, rtol=1e-4, atol=1e-5)


def test_more_epochs_extend_a_run_to_the_bytes_of_an_uninterrupted_one(
    small_data: Path, small_run: Path, tmp_path: Path
) -> None:
    train(small_data, tmp_path / "run", epochs=1)
    train(small_data, tmp_path / "run", epochs=3)
    assert checkpoint_bytes(tmp_path / "run") == checkpoint_bytes(small_run)
    assert train(small_data, tmp_path / "run", epochs=2)["status"] == "finished already"


def test_momentum_survives_a_resume(small_data: Path, tmp_path: Path) -> None:
    options = {"overrides": QUICK | {"optimiser.momentum": 0.9}}
    train(small_data, tmp_path / "whole", epochs=3, **options)
    for epochs in (1, 2, 3):
        train(small_data, tmp_path / "parts", epochs=epochs, **options)
    assert checkpoint_bytes(tmp_path / "parts") == checkpoint_bytes(tmp_path / "whole")


@pytest.mark.long
def test_a_killed_run_resumes_to_the_same_bytes(
    small_data: Path, small_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    code = (
        "import engine, sys; engine.train_expert(sys.argv[1], sys.argv[2], epochs=3, "
        f"model={MODEL!r}, overrides={QUICK!r})"
    )
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(small_data), str(out)], env=dict(os.environ)
        )
        seen = len(list(out.glob("checkpoints/*")))
        while process.poll() is None and len(list(out.glob("checkpoints/*"))) == seen:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    train(small_data, out, epochs=3)
    assert checkpoint_bytes(out) == checkpoint_bytes(small_run)
    assert engine.verify_run(out)["ok"]
    assert not list(out.rglob("*.partial"))


@pytest.mark.long
def test_two_ranks_train_what_one_trains(small_data: Path, tmp_path: Path) -> None:
    train(small_data, tmp_path / "one", epochs=2)
    result = train(small_data, tmp_path / "two", epochs=2, processes=2)
    assert result["environment"]["ranks"] == 2
    one, two = (open_run(tmp_path / name).weights(2) for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-5)


def test_held_out_images_are_not_trained_on(small_data: Path, tmp_path: Path) -> None:
    plan = train(small_data, tmp_path / "run", hold_out=True, dry_run=True)
    held = len(beton_builder.open_dataset(small_data).validation_indices)
    assert held > 0
    assert plan["images_per_epoch"] == 120 - held
    assert not (tmp_path / "run").exists()


def test_a_dry_run_says_where_the_recipe_comes_from(small_data: Path, tmp_path: Path) -> None:
    usual = train(small_data, tmp_path / "run", dry_run=True)
    chosen = train(small_data, tmp_path / "run", config="expert-cifar100", dry_run=True)
    assert usual["recipe_from"] == "expert-small"
    assert (chosen["recipe_from"], chosen["recipe"]["epochs"]) == ("expert-cifar100", 125)


def test_the_accuracy_on_images_held_out_goes_with_the_labels_and_chooses_the_best_epoch(
    small_data: Path, small_run: Path, tmp_path: Path
) -> None:
    train(small_data, tmp_path / "run", epochs=2, hold_out=True)
    dataset, run = beton_builder.open_dataset(small_data), open_run(tmp_path / "run")
    normalised, labels = train_split(dataset)
    held = dataset.validation_indices
    model = build_model(MODEL, num_classes=3, channels=3, resolution=16, init_seed=0)
    expected = {}
    for epoch in (1, 2):
        model.load_state_dict(run.weights(epoch))
        right = model(normalised[held]).argmax(1) == labels[held]
        expected[epoch] = right.double().mean().item()
    engine.dump_labels(small_data, tmp_path / "run", tmp_path / "labels.zarr")
    view = labelstore.open_store(tmp_path / "labels.zarr").view()
    assert {epoch: view.about(epoch)["validation_accuracy"] for epoch in (1, 2)} == expected
    asked = {"ipc": [1], "seeds": [0], "labels": ["soft"], "expert_epochs": "best"}
    (grid,) = load_grids(None, asked)
    (trial,) = plan_trials(grid, dataset, labelstore.open_store(tmp_path / "labels.zarr"))
    assert trial.teacher.epochs == (max(expected, key=expected.get),)
    head = sweep_head(asked, [grid], dataset, labelstore.open_store(tmp_path / "labels.zarr"))
    assert [expert["held_out"] for expert in head["experts"]] == [True]
    assert head["dataset"]["num_validation"] == len(held)
    assert "validation_accuracy" not in open_run(small_run).record(3)["metrics"]


def test_other_options_are_refused_naming_both_runs_unless_forced(
    small_data: Path, tmp_path: Path
) -> None:
    first = train(small_data, tmp_path / "run", epochs=1)
    with pytest.raises(MismatchError, match=rf"{first['id']}.*lr: 0.01 → 0.5.*--force"):
        train(small_data, tmp_path / "run", epochs=1, lr=0.5)
    plan = train(small_data, tmp_path / "run", epochs=1, lr=0.5, force=True, dry_run=True)
    assert plan["epochs_done"] is None
    replaced = train(small_data, tmp_path / "run", epochs=1, lr=0.5, force=True)
    assert replaced["id"] != first["id"]


def test_bad_options_leave_nothing_behind(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for options, error in (
        ({"model": "resnet-eighteen"}, UsageError),
        ({"overrides": {"learning_rate": 1}}, ConfigurationError),
        ({"overrides": {"batch_size": 0}}, ConfigurationError),
        ({"overrides": {"batch_size": 119}, "processes": 2}, UsageError),  # 120 images
        ({"processes": 3}, UsageError),
    ):
        with pytest.raises(error):
            train(small_data, tmp_path / "run", **options)
        assert not (tmp_path / "run").exists()


def test_a_folder_with_something_else_is_not_overwritten(small_data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"found other files \(thesis\.tex\)"):
        train(small_data, tmp_path / "run", epochs=1, force=True)
    assert (tmp_path / "run" / "thesis.tex").exists()


@settings(max_examples=40)
@given(data=st.data())
def test_every_flipped_byte_is_found(small_run: Path, data: st.DataObject) -> None:
    files = sorted(f for f in small_run.rglob("*") if f.is_file() and f.name != ".lock")
    file = data.draw(st.sampled_from(files))
    original = file.read_bytes()
    position = data.draw(st.integers(0, len(original) - 1))
    flipped = bytearray(original)
    flipped[position] ^= 1 << data.draw(st.integers(0, 7))
    assert engine.verify_run(small_run)["ok"]
    try:
        file.write_bytes(bytes(flipped))
        assert not engine.verify_run(small_run)["ok"], (file, position)
    finally:
        file.write_bytes(original)


def test_a_damaged_checkpoint_is_never_used(small_run: Path) -> None:
    file = small_run / "checkpoints" / "epoch_0003.safetensors"
    original = file.read_bytes()
    try:
        file.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        with pytest.raises(DamageError, match=r"epoch_0003.*--force"):
            open_run(small_run).weights(3)
    finally:
        file.write_bytes(original)


def test_what_a_writer_killed_at_once_left_does_not_block_the_folder(
    small_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".manifest.json.abc.partial").write_text("{")
    (out / ".lock").touch()
    assert train(small_data, out, epochs=0)["epochs"] == 0
    assert not list(out.glob(".*.partial"))


def test_force_trains_a_finished_run_anew(small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(small_data, out, epochs=1)
    before = checkpoint_bytes(out)
    (out / "checkpoints" / "epoch_0001.safetensors").unlink()
    assert not engine.verify_run(out)["ok"]
    assert train(small_data, out, epochs=1, force=True)["status"] == "trained"
    assert checkpoint_bytes(out) == before
    assert engine.verify_run(out)["ok"]


def test_a_second_process_is_refused_and_changes_nothing(small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(small_data, out, epochs=1)
    before = checkpoint_bytes(out)
    with sole_writer(out), pytest.raises(UsageError, match="another process"):
        train(small_data, out, epochs=2, lr=0.5, force=True)
    assert checkpoint_bytes(out) == before


def test_a_finished_run_needs_no_gpus(
    small_data: Path, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    out = tmp_path / "run"
    shutil.copytree(small_run, out)
    assert train(small_data, out, epochs=3, processes=8)["status"] == "finished already"
    for dry_run in (True, False):
        with pytest.raises(UsageError, match="each rank needs its own"):
            train(small_data, out, epochs=4, processes=8, dry_run=dry_run)


def test_launchers_are_refused_with_the_command_to_type(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UsageError, match="--processes 4"):
        train(small_data, tmp_path / "run", epochs=1)
    assert not (tmp_path / "run").exists()


def test_random_crops_of_images_stored_at_that_size_are_refused(
    small_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="nothing to crop"):
        train(small_data, tmp_path / "run", overrides={"augmentation": "random-resized-crop"})


@pytest.mark.long
@pytest.mark.parametrize("rank", ["0", "1"])
def test_an_error_on_any_rank_arrives_as_itself(rank: str) -> None:
    with pytest.raises(DamageError, match=f"rank {rank} found damage"):
        run_ranks(fail_on_rank, 2, None, rank)


@pytest.mark.long
def test_a_rank_that_dies_ends_the_others(tmp_path: Path) -> None:
    with pytest.raises(RankError, match="rank 1 of 2 died"):
        run_ranks(die_on_rank, 2, None, "1")


KILLED_EARLY = """
import os, sys, time
from pathlib import Path

def work(folder, *, progress):
    (Path(folder) / f"rank-{os.environ['RANK']}-worked").touch()
    time.sleep(60)
    return {}

if __name__ == "__main__":
    from engine.training.launch import run_ranks
    run_ranks(work, 2, None, sys.argv[1])
"""


def ranks_of(command: int) -> list[Path]:
    """What /proc has of the processes that a command has spawned."""
    children = Path(f"/proc/{command}/task/{command}/children").read_text().split()
    folders = [Path(f"/proc/{child}") for child in children]
    return [each for each in folders if b"spawn_main" in (each / "cmdline").read_bytes()]


def is_running(process: Path) -> bool:
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # nobody collects the orphans of a killed process in some containers


@pytest.mark.long
def test_ranks_whose_command_is_killed_while_they_start_do_nothing(tmp_path: Path) -> None:
    script = tmp_path / "command.py"
    script.write_text(KILLED_EARLY)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = subprocess.Popen([sys.executable, script, tmp_path], env=environment)
    while len(ranks := ranks_of(command.pid)) < 2:
        assert command.poll() is None
        time.sleep(0.001)
    command.kill()
    command.wait()
    while any(map(is_running, ranks)) and not list(tmp_path.glob("*-worked")):
        time.sleep(0.05)
    assert not list(tmp_path.glob("*-worked"))


def fail_on_rank(rank: str, *, progress: object) -> dict[str, object]:
    if os.environ["RANK"] == rank:
        raise DamageError(f"rank {rank} found damage")
    time.sleep(60)
    return {}


def die_on_rank(rank: str, *, progress: object) -> dict[str, object]:
    if os.environ["RANK"] == rank:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    return {}


def test_checkpoints_are_safetensors_that_anyone_can_read(small_run: Path) -> None:
    tensors = safetensors.torch.load_file(small_run / "checkpoints" / "epoch_0003.safetensors")
    assert tensors["classifier.weight"].shape == (3, 8 * 4 * 4)
