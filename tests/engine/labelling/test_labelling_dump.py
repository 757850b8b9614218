"""The proof that row i of the store describes image i, and that a dump survives anything."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import beton_builder
import engine
import labelstore
from engine.errors import ArtefactError, MismatchError, UsageError
from tests.engine.conftest import write_image_folder


def logits_by_hand(data: Path, run: Path, epoch: int, ids: np.ndarray) -> np.ndarray:
    """Logits from the source's pixels and the checkpoint file, with nothing of the engine."""
    split = beton_builder.open_dataset(data).split("train")
    return logits_of_images(data, run, epoch, np.stack([split.image(int(i)) for i in ids]))


def logits_of_images(data: Path, run: Path, epoch: int, pixels: np.ndarray) -> np.ndarray:
    """Logits of images (n, h, w, 3) from the checkpoint file, with nothing of the engine."""
    dataset = beton_builder.open_dataset(data)
    weights = safetensors.torch.load_file(run / "checkpoints" / f"epoch_{epoch:04d}.safetensors")
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(8, 8), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(8, 8), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(8 * 16, 3)),
    )
    names = [name for name, _ in model.named_parameters()]
    model.load_state_dict(dict(zip(names, _in_order(weights), strict=True)))
    images = (pixels / 255 - np.array(dataset.mean)) / np.array(dataset.std)
    with torch.no_grad():
        return model(torch.from_numpy(images).float().permute(0, 3, 1, 2)).numpy()


def _in_order(weights: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    layers = ["features.0", "features.1", "features.4", "features.5", "classifier"]
    return [weights[f"{layer}.{part}"] for layer in layers for part in ("weight", "bias")]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(f.relative_to(folder)): f.read_bytes()
        for f in sorted(folder.rglob("*"))
        if f.is_file() and "lock" not in f.name
    }


@pytest.mark.parametrize("epoch", [0, 3])
def test_row_i_describes_image_i(
    small_data: Path, small_run: Path, small_store: Path, epoch: int
) -> None:
    ids = np.random.default_rng(epoch).choice(120, 25, replace=False)
    stored = labelstore.open_store(small_store).view().read(epoch, ids)
    expected = logits_by_hand(small_data, small_run, epoch, ids)
    np.testing.assert_allclose(stored, expected, rtol=2e-3, atol=2e-3)
    # Rows of other images would not pass: each row is nearest to its own image's logits.
    distances = np.abs(stored[:, None].astype(np.float32) - expected[None]).sum(2)
    assert (distances.argmin(1) == np.arange(25)).all()


def test_statistics_are_those_of_the_logits_and_the_true_label(
    small_data: Path, small_run: Path, small_store: Path
) -> None:
    ids = np.arange(120)
    logits = logits_by_hand(small_data, small_run, 2, ids).astype(np.float64)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    labels = np.asarray(beton_builder.open_dataset(small_data).split("train").labels)
    view = labelstore.open_store(small_store).view()
    np.testing.assert_allclose(view.entropy(2), -(np.exp(logs) * logs).sum(1), atol=1e-4)
    np.testing.assert_allclose(view.cross_entropy(2), -logs[ids, labels], atol=1e-4)


def test_all_epochs_include_the_initial_weights(small_store: Path, small_run: Path) -> None:
    view = labelstore.open_store(small_store).view()
    assert view.epochs == (0, 1, 2, 3)
    assert [view.checkpoint_id(e) for e in view.epochs] == [
        engine.training.open_run(small_run).checkpoint_id(e) for e in range(4)
    ]


def test_epochs_can_be_added_later_to_the_same_bytes(
    small_data: Path, small_run: Path, small_store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "labels.zarr"
    engine.dump_labels(small_data, small_run, out, epochs=[1])
    assert engine.dump_labels(small_data, small_run, out)["epochs_written"] == [0, 2, 3]
    assert tree(out) == tree(small_store)
    assert engine.dump_labels(small_data, small_run, out)["status"] == "finished already"


def test_labels_that_are_there_need_no_gpus(
    small_data: Path, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "labels.zarr"
    engine.dump_labels(small_data, small_run, out, epochs=[1])
    before = tree(out)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    again = engine.dump_labels(small_data, small_run, out, epochs=[1], processes=8)
    assert again["status"] == "finished already"
    for place in (out, tmp_path / "other.zarr"):
        for dry_run in (True, False):
            with pytest.raises(UsageError, match="each rank needs its own"):
                engine.dump_labels(
                    small_data, small_run, place, epochs=[2], processes=8, dry_run=dry_run
                )
    assert tree(out) == before
    assert not (tmp_path / "other.zarr").exists()


@pytest.mark.long
def test_a_killed_dump_resumes_to_the_same_bytes(
    small_data: Path, small_run: Path, small_store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "labels.zarr"
    code = "import engine, sys; engine.dump_labels(*sys.argv[1:])"
    for delay in (0.0, 0.01, 0.05, 0.2):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(small_data), str(small_run), str(out)]
        )
        while process.poll() is None and not out.exists():
            time.sleep(0.002)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    engine.dump_labels(small_data, small_run, out)
    assert tree(out) == tree(small_store)


@pytest.mark.long
def test_two_ranks_write_the_bytes_of_one(
    small_data: Path, small_run: Path, small_store: Path, tmp_path: Path
) -> None:
    engine.dump_labels(small_data, small_run, tmp_path / "labels.zarr", processes=2)
    assert tree(tmp_path / "labels.zarr") == tree(small_store)


def test_labels_of_another_dataset_are_refused_naming_both(small_run: Path, tmp_path: Path) -> None:
    write_image_folder(tmp_path / "source", train=10, test=2, seed=9)
    beton_builder.build_beton(tmp_path / "source", tmp_path / "other", workers=1)
    other = beton_builder.open_dataset(tmp_path / "other").id
    with pytest.raises(MismatchError, match=f"trained on dataset .* but .* {other}"):
        engine.dump_labels(tmp_path / "other", small_run, tmp_path / "labels.zarr")
    assert not (tmp_path / "labels.zarr").exists()


def test_images_normalised_otherwise_are_refused(
    small_run: Path, small_data: Path, tmp_path: Path
) -> None:
    source = small_data.parent / "source"
    beton_builder.build_beton(source, tmp_path / "data", workers=1, normalisation="cifar10")
    assert (
        beton_builder.open_dataset(tmp_path / "data").id
        == engine.training.open_run(small_run).dataset_id
    )
    with pytest.raises(MismatchError, match="trained with mean"):
        engine.dump_labels(tmp_path / "data", small_run, tmp_path / "labels.zarr")


def test_an_epoch_without_a_checkpoint_is_refused(
    small_data: Path, small_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArtefactError, match=r"no epoch 7.*--epochs 7"):
        engine.dump_labels(small_data, small_run, tmp_path / "labels.zarr", epochs=[7])
    assert not (tmp_path / "labels.zarr").exists()


@pytest.mark.parametrize(
    ("codec", "what"), [("gzip", "expected dense"), ("topk:3", "fewer than the 3 classes")]
)
def test_a_codec_that_cannot_hold_the_labels_is_refused_before_anything_is_made(
    small_data: Path, small_run: Path, tmp_path: Path, codec: str, what: str
) -> None:
    for dry_run in (True, False):
        with pytest.raises(labelstore.BadArgument, match=what):
            engine.dump_labels(
                small_data, small_run, tmp_path / "labels.zarr", codec=codec, dry_run=dry_run
            )
    assert not (tmp_path / "labels.zarr").exists()


def test_a_dry_run_says_what_is_missing_and_writes_nothing(
    small_data: Path, small_run: Path, tmp_path: Path
) -> None:
    plan = engine.dump_labels(small_data, small_run, tmp_path / "labels.zarr", dry_run=True)
    assert (plan["epochs_missing"], plan["samples"]) == ([0, 1, 2, 3], 120)
    assert not (tmp_path / "labels.zarr").exists()
