"""Views of the images, codecs, and labels computed again, on a dump of a real small dataset."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import beton_builder
import engine
import labelstore
from cli.main import main
from engine.errors import MismatchError, UsageError
from engine.labelling import check
from engine.labelling.views import ImageView, parse_view
from engine.loading import Streaming
from tests.engine.labelling.test_labelling_dump import logits_of_images


def pixels_of(data: Path, ids: np.ndarray) -> np.ndarray:
    split = beton_builder.open_dataset(data).split("train")
    return np.stack([split.image(int(i)) for i in ids])


def test_flip_is_the_mean_of_the_logits_of_image_and_mirror(
    small_data: Path, small_run: Path, tmp_path: Path
) -> None:
    engine.dump_labels(small_data, small_run, tmp_path / "l.zarr", epochs=[2], view="flip")
    ids = np.array([5, 0, 119])
    pixels = pixels_of(small_data, ids)
    expected = (
        logits_of_images(small_data, small_run, 2, pixels)
        + logits_of_images(small_data, small_run, 2, pixels[:, :, ::-1])
    ) / 2
    stored = labelstore.open_store(tmp_path / "l.zarr").view(view="flip").read(2, ids)
    np.testing.assert_allclose(stored, expected, rtol=2e-3, atol=2e-3)


def test_a_crops_label_is_that_of_the_pixels_the_loader_shows(
    small_data: Path, small_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "l.zarr"
    engine.dump_labels(small_data, small_run, out, epochs=[1, 3], view="crop:2", crop_seed=7)
    view = labelstore.open_store(out).view(view="crop-2")
    ids = np.array([4, 77, 101])
    dataset = beton_builder.open_dataset(small_data)
    for crop in range(2):
        stream = Streaming(dataset, "train", resolution=16)
        with stream.batches(
            ids, batch_size=3, view="crop", shuffle=False, epoch=crop, augment_seed=7
        ) as batches:
            shown = next(iter(batches)).images.permute(0, 2, 3, 1).numpy()
        expected = logits_of_images(small_data, small_run, 3, shown)
        np.testing.assert_allclose(view.read(3, ids)[:, crop], expected, rtol=2e-3, atol=2e-3)
    top, left, height, width, mirrored = view.crop_boxes(3, ids)[0, 1]
    assert top + height <= 16
    assert left + width <= 16
    assert mirrored in (0, 1)
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(pixels_of(small_data, ids[:1])).permute(0, 3, 1, 2)[
            :, :, top : top + height, left : left + width
        ],
        (16, 16),
        mode="bilinear",
        antialias=True,
    )
    images, _ = ImageView(crops=2, crop_seed=7).images(dataset, ids[:1], 16)
    expected_crop = resized[0].flip(2) if mirrored else resized[0]
    assert torch.equal(images[0, 1], expected_crop)


def test_another_crop_seed_is_another_view_of_the_same_name_and_refused(
    small_data: Path, small_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "l.zarr"
    engine.dump_labels(small_data, small_run, out, epochs=[1], view="crop:2", crop_seed=7)
    with pytest.raises(labelstore.WrongIdentity, match="crop_seed"):
        engine.dump_labels(small_data, small_run, out, epochs=[1], view="crop:2", crop_seed=8)


@pytest.mark.parametrize("codec", ["quantised:8", "topk:2"])
def test_a_dump_in_a_codec_is_the_code_of_the_fp32_logits(
    small_data: Path, small_run: Path, small_store: Path, tmp_path: Path, codec: str
) -> None:
    out = tmp_path / "l.zarr"
    answer = engine.dump_labels(small_data, small_run, out, epochs=[3], codec=codec)
    view = labelstore.open_store(out).view()
    dense = labelstore.open_store(small_store).view()
    assert view.codec == codec
    assert answer["table"][0]["codec_kl"] == view.codec_error(3)["kl_mean"]
    assert np.array_equal(view.entropy(3), dense.entropy(3))
    worst = np.abs(view.read(3, slice(None)).astype(np.float32) - dense.read(3, slice(None))).max()
    assert worst == pytest.approx(view.codec_error(3)["max_abs"], abs=5e-3)


@pytest.mark.parametrize("text", ["", "crops", "crop:0", "crop:65", "crop:x", "plain:2"])
def test_views_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected plain, flip or crop:S"):
        parse_view(text)


@pytest.mark.parametrize("view", ["plain", "flip"])
def test_a_crop_seed_without_crops_is_refused(
    small_data: Path, small_run: Path, tmp_path: Path, view: str
) -> None:
    with pytest.raises(UsageError, match=f"--crop-seed 7 draws crops, and --view {view} has none"):
        engine.dump_labels(small_data, small_run, tmp_path / "l", view=view, crop_seed=7)
    assert not (tmp_path / "l").exists()


def test_labels_computed_again_agree_in_every_view_and_codec(
    small_data: Path, small_run: Path, small_store: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(small_store, tmp_path / "l.zarr")
    engine.dump_labels(small_data, small_run, out, epochs=[3], view="flip")
    engine.dump_labels(small_data, small_run, out, epochs=[3], view="crop:2", codec="quantised:8")
    assert main(["convert-labels", str(out), "--codec", "topk:2", "--epochs", "0,3"]) == 0
    found = engine.check_labels(out, small_data, small_run, samples=20)
    assert found["ok"], found["problems"]
    assert found["recomputed"] == 20 * (4 + 2 + 1 + 1)


@pytest.mark.parametrize("codec", ["dense", "quantised:8", "quantised:4", "topk:1", "topk:2"])
def test_labels_of_other_rows_are_found_by_computing_again(
    small_data: Path, small_run: Path, small_store: Path, tmp_path: Path, codec: str
) -> None:
    """A store that verifies byte by byte, but whose rows are those of the next image.

    One row loses much in a lossy codec, which says nothing of the others.
    """
    original = labelstore.open_store(small_store)
    view = original.view()
    shifted = labelstore.create_store(
        tmp_path / "l.zarr",
        dataset_id=original.dataset_id,
        classes=original.classes,
        num_samples=original.num_samples,
    ).add_view(view.expert, "plain", identity=view.identity, codec=codec)
    with shifted.writer([3], view.checkpoints) as writer:
        logits = np.roll(view.read(3, slice(None)), 1, axis=0).astype(np.float32)
        logits[0] = (900, 20, -900)
        writer.write(3, 0, logits, np.zeros(120, np.int64))
    assert labelstore.verify_store(tmp_path / "l.zarr")["ok"]
    found = engine.check_labels(tmp_path / "l.zarr", small_data, small_run)
    assert not found["ok"], found
    assert "not of these images" in found["problems"][0]
    wrong = re.search(r"plain\S*: (\d+) of 64 labels", found["problems"][0])
    assert wrong is not None
    assert int(wrong[1]) > 32


@pytest.mark.parametrize("largest", [1.001, 16.01, 100.01])
@pytest.mark.parametrize("bits", [1, 2, 8])
def test_logits_halfway_between_the_lines_of_their_grid_are_whole(
    small_data: Path,
    small_run: Path,
    small_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bits: int,
    largest: float,
) -> None:
    """The grid's ends are rounded outwards to float16, so its lines lie further apart."""
    original = labelstore.open_store(small_store)
    view = original.view()
    logits = np.tile(np.array([-largest, 0, largest], np.float32), (120, 1))
    monkeypatch.setattr(check, "_labels_again", lambda *given: (logits[given[-1]], None))
    opened = labelstore.create_store(
        tmp_path / "l.zarr",
        dataset_id=original.dataset_id,
        classes=original.classes,
        num_samples=original.num_samples,
    ).add_view(view.expert, "plain", identity=view.identity, codec=f"quantised:{bits}")
    with opened.writer([3], view.checkpoints) as writer:
        writer.write(3, 0, logits, np.zeros(120, np.int64))
    assert engine.check_labels(tmp_path / "l.zarr", small_data, small_run)["ok"]


def test_a_run_whose_labels_the_store_lacks_cannot_check_them(
    small_data: Path, small_store: Path, tmp_path: Path
) -> None:
    engine.train_expert(small_data, tmp_path / "run", model="convnet-d2-w8", epochs=0, seed=5)
    with pytest.raises(MismatchError, match="holds no labels of expert run"):
        engine.check_labels(small_store, small_data, tmp_path / "run")
