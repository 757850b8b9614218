"""The resident tier against plain numpy, and without the libraries it does not need."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from beton_builder import Dataset
from engine.loading import (
    InvalidRequest,
    Resident,
    ResolutionNeeded,
    Streaming,
    TierUnsuitable,
    batches,
    load_resident,
)


def test_raw_images_equal_what_was_built(tiles: Dataset, tile_pixels: np.ndarray) -> None:
    resident = load_resident(tiles)
    np.testing.assert_array_equal(resident.images.permute(0, 2, 3, 1), tile_pixels)
    assert resident.images.is_contiguous(memory_format=torch.channels_last)
    assert resident.labels.tolist() == [k // 10 for k in range(30)]
    assert resident.ids.tolist() == list(range(30))


def test_a_subset_keeps_its_order(tiles: Dataset, tile_pixels: np.ndarray) -> None:
    wanted = [29, 0, 14, 13]
    resident = load_resident(tiles, indices=wanted)
    np.testing.assert_array_equal(resident.images.permute(0, 2, 3, 1), tile_pixels[wanted])
    assert resident.ids.tolist() == wanted
    assert resident.labels.tolist() == [2, 0, 1, 1]


@pytest.mark.parametrize("name", ["tiles", "photos"])
@pytest.mark.parametrize("tier", ["resident", "streaming"])
def test_an_empty_subset_has_no_batches(
    name: str, tier: str, request: pytest.FixtureRequest
) -> None:
    dataset: Dataset = request.getfixturevalue(name)
    epoch = batches(dataset, [], batch_size=4, view="plain", resolution=16, tier=tier)
    assert list(epoch) == []
    resident = load_resident(dataset, indices=[], resolution=16)
    assert resident.images.shape == (0, 3, 16, 16)
    assert resident.batch([]).images.shape == (0, 3, 16, 16)


def test_greyscale_keeps_plane_0(tiles: Dataset, tile_pixels: np.ndarray) -> None:
    grey = dataclasses.replace(tiles, channels=1)
    resident = load_resident(grey, indices=[3, 1])
    assert resident.images.shape == (2, 1, 16, 16)
    np.testing.assert_array_equal(resident.images[:, 0], tile_pixels[[3, 1], :, :, 0])
    (streamed,) = Streaming(grey).batches([3, 1], batch_size=2, shuffle=False)
    assert torch.equal(streamed.images, resident.images)


def test_jpegs_become_the_centre_crops_of_the_streaming_tier(photos: Dataset) -> None:
    resident = load_resident(photos, resolution=24, indices=np.arange(20))
    (streamed,) = Streaming(photos, resolution=24).batches(
        np.arange(20), batch_size=20, view="plain", shuffle=False
    )
    assert all(torch.equal(a, b) for a, b in zip(resident.batch(range(20)), streamed, strict=True))
    assert resident.view == "centre_crop"


def test_greyscale_centre_crops_keep_plane_0(photos: Dataset) -> None:
    grey = dataclasses.replace(photos, channels=1)
    coloured = load_resident(photos, resolution=24)
    assert torch.equal(load_resident(grey, resolution=24).images, coloured.images[:, :1])
    (views,) = Streaming(grey, resolution=24).batches(range(24), batch_size=24, shuffle=False)
    (all_planes,) = Streaming(photos, resolution=24).batches(
        range(24), batch_size=24, shuffle=False
    )
    assert torch.equal(views.images, all_planes.images[:, :1])


def sparse_resident() -> tuple[Resident, np.ndarray]:
    rng = np.random.default_rng(0)
    ids = rng.permutation(100)[:20]
    images = torch.from_numpy(rng.integers(0, 256, (20, 3, 4, 5), dtype=np.uint8))
    return Resident(images, torch.from_numpy(ids % 7), torch.from_numpy(ids)), ids


@given(positions=st.lists(st.integers(0, 19), max_size=30))
def test_batches_by_id_gather_rows_in_any_order(positions: list[int]) -> None:
    resident, ids = sparse_resident()
    batch = resident.batch(ids[positions])
    np.testing.assert_array_equal(batch.images.numpy(), resident.images.numpy()[positions])
    np.testing.assert_array_equal(batch.ids.numpy(), ids[positions])
    np.testing.assert_array_equal(batch.labels.numpy(), ids[positions] % 7)


def test_an_id_that_is_not_resident_is_named() -> None:
    resident, ids = sparse_resident()
    absent = next(k for k in range(100) if k not in ids)
    with pytest.raises(InvalidRequest, match=f"sample {absent} is not resident"):
        resident.batch([int(ids[0]), absent])


@pytest.mark.parametrize("world", [1, 3])
def test_an_epoch_equals_plain_indexing(
    tiles: Dataset, tile_pixels: np.ndarray, world: int
) -> None:
    resident, seen = load_resident(tiles), []
    for rank in range(world):
        epoch = batches(
            resident, range(30), batch_size=8, seed=1, epoch=2, rank=rank, world=world, start=1
        )
        assert len(epoch) == 3
        for images, labels, ids in epoch:
            np.testing.assert_array_equal(images.permute(0, 2, 3, 1), tile_pixels[ids])
            np.testing.assert_array_equal(labels, ids // 10)
            seen += ids.tolist()
    assert len(seen) == len(set(seen)) == 22


def test_both_tiers_give_equal_epochs(tiles: Dataset) -> None:
    options = {"batch_size": 7, "seed": 3, "epoch": 4}
    resident = list(batches(tiles, range(30), tier="resident", **options))  # type: ignore[arg-type]
    streamed = list(batches(tiles, range(30), tier="streaming", **options))  # type: ignore[arg-type]
    assert len(resident) == len(streamed) == 5
    for ours, theirs in zip(resident, streamed, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_closing_an_epoch_ends_it(tiles: Dataset) -> None:
    with load_resident(tiles).batches(range(30), batch_size=4) as epoch:
        next(epoch)
    assert list(epoch) == []


def test_a_batch_is_a_copy(tiles: Dataset) -> None:
    resident = load_resident(tiles)
    before = resident.images.clone()
    resident.batch(range(30)).images.zero_()
    assert torch.equal(resident.images, before)


def test_requests_that_cannot_be_met_say_why(photos: Dataset, tiles: Dataset) -> None:
    with pytest.raises(ResolutionNeeded, match="give a resolution"):
        load_resident(photos)
    with pytest.raises(InvalidRequest, match="0 to 29"):
        load_resident(tiles, indices=[30])
    with pytest.raises(InvalidRequest, match="once"):
        load_resident(tiles, indices=[1, 1])
    with pytest.raises(TierUnsuitable, match="random resized crops"):
        batches(load_resident(photos, resolution=16), [0], batch_size=1, view="train")
    with pytest.raises(InvalidRequest, match="uint8"):
        Resident(torch.zeros(2, 3, 4, 4), torch.zeros(2), torch.arange(2))


def test_it_works_without_ffcv_opencv_and_libturbojpeg(photos: Dataset, tiles: Dataset) -> None:
    program = f"""
import ctypes, sys
sys.modules["ffcv"] = sys.modules["cv2"] = None
class Absent(ctypes.CDLL):
    def __init__(self, name, *rest, **options):
        if name and "turbojpeg" in str(name):
            raise OSError("absent")
        super().__init__(name, *rest, **options)
ctypes.CDLL = Absent
from beton_builder import open_dataset
from engine.loading import load_resident
print(tuple(load_resident(open_dataset({str(tiles.path)!r})).images.shape))
print(int(load_resident(open_dataset({str(photos.path)!r}), resolution=16).images.sum()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    total = int(load_resident(photos, resolution=16).images.sum())
    assert done.stdout == f"(30, 3, 16, 16)\n{total}\n", done.stderr
