"""Which tier is chosen, and that it says why."""

import subprocess
import sys

import pytest

import engine.loading
from beton_builder import Dataset, MissingSplit
from engine.loading import (
    InvalidRequest,
    Resident,
    ResolutionNeeded,
    Streaming,
    TierUnsuitable,
    batches,
    choose_tier,
    open_images,
)


def test_what_fits_is_resident(tiles: Dataset) -> None:
    tier, reason = choose_tier(tiles)
    assert tier == "resident"
    assert reason.startswith("30 images of 3×16×16 take 0 MiB, of ")
    assert reason.endswith("under a quarter")
    assert isinstance(open_images(tiles), Resident)


def test_what_does_not_fit_streams(tiles: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 30 * 3 * 16 * 16
    monkeypatch.setattr("engine.loading.tiers.free_memory", lambda: 4 * needed - 4)
    assert choose_tier(tiles).tier == "streaming"
    assert choose_tier(tiles).reason.endswith("over a quarter")
    assert choose_tier(tiles, num_samples=29).tier == "resident"
    epoch = batches(tiles, range(30), batch_size=8)
    assert epoch.describe()["tier"] == "streaming"
    assert "over a quarter" in epoch.describe()["reason"]
    epoch.close()


def test_as_many_threads_decode_as_can_run_at_once(
    tiles: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.loading.streaming.usable_cores", lambda: 3)
    assert Streaming(tiles).workers == 3
    assert Streaming(tiles, workers=5).workers == 5


def test_random_crops_stream_and_centre_crops_of_the_same_images_are_resident(
    photos: Dataset,
) -> None:
    assert choose_tier(photos, view="train", resolution=32).tier == "streaming"
    assert choose_tier(photos, view="plain", resolution=32).tier == "resident"
    assert isinstance(open_images(photos, resolution=32), Streaming)


def test_small_images_at_their_own_size_are_passed_as_stored_in_training(tiles: Dataset) -> None:
    for resolution in (None, 16):
        described = batches(tiles, [0], batch_size=1, resolution=resolution).describe()
        assert described["view"] == "stored"
    assert choose_tier(tiles, resolution=8).tier == "streaming"


def test_an_opened_tier_serves_any_number_of_epochs(tiles: Dataset) -> None:
    images = open_images(tiles, indices=[4, 8, 15])
    for epoch in range(3):
        found = [k for b in batches(images, [4, 8, 15], batch_size=2, epoch=epoch) for k in b.ids]
        assert sorted(map(int, found)) == [4, 8, 15]


def test_what_cannot_be_is_refused(tiles: Dataset, photos: Dataset) -> None:
    with pytest.raises(InvalidRequest, match="auto, resident, streaming"):
        open_images(tiles, tier="disk")
    with pytest.raises(InvalidRequest, match="train, crop, plain"):
        batches(tiles, [0], batch_size=1, view="test")
    with pytest.raises(InvalidRequest, match="resolution"):
        batches(photos, [0], batch_size=1, resolution=0)
    with pytest.raises(InvalidRequest, match="workers"):
        batches(photos, [0], batch_size=1, resolution=8, workers=0)
    with pytest.raises(ResolutionNeeded, match="give a resolution"):
        batches(photos, [0], batch_size=1)
    with pytest.raises(TierUnsuitable, match="streaming"):
        open_images(photos, tier="resident", resolution=16)
    with pytest.raises(MissingSplit):
        batches(tiles, [0], split="test", batch_size=1)


def test_the_public_names_are_there_and_light_to_import() -> None:
    assert all(hasattr(engine.loading, name) for name in engine.loading.__all__)
    assert engine.loading.__all__ == sorted(engine.loading.__all__)
    program = "import sys, engine.loading; print({'torch', 'numba', 'ffcv'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "set()\n"
