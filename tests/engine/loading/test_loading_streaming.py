"""The streaming tier: right pixels, right order, nothing overwritten, nothing left hanging."""

import io
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from beton_builder import Dataset, build_beton, open_dataset
from engine.loading import DamagedImage, InvalidRequest, Streaming, batches
from engine.loading.crops import random_resized_crop
from engine.loading.memory import BatchMemory
from engine.loading.pixels import use_one_openmp_thread

ALL = np.arange(24)


def pixels_by_id(epoch: object) -> dict[int, np.ndarray]:
    """Every sample's pixels (C, H, W), with a check of the batches' shapes and labels."""
    found: dict[int, np.ndarray] = {}
    for images, labels, ids in epoch:  # type: ignore[attr-defined]
        assert images.dtype == torch.uint8
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.tolist() == [k // 12 for k in ids.tolist()]
        found.update(zip(ids.tolist(), images.numpy(), strict=True))
    return found


def box_by_pillow(dataset: Dataset, sample: int, box: list[int], side: int) -> np.ndarray:
    top, left, height, width = box
    image = Image.fromarray(dataset.split("train").image(sample))
    image = image.crop((left, top, left + width, top + height))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


@pytest.mark.parametrize("resolution", [24, 48, 224])
def test_centre_crops_equal_torchvisions_within_one_level(photos: Dataset, resolution: int) -> None:
    beton = photos.split("train")
    resize = transforms.Resize(round(resolution * 256 / 224))
    steps = transforms.Compose([resize, transforms.CenterCrop(resolution)])
    found = pixels_by_id(
        batches(photos, ALL, batch_size=7, view="plain", resolution=resolution, tier="streaming")
    )
    assert len(found) == 24
    for sample, ours in found.items():
        theirs = np.asarray(steps(Image.fromarray(beton.image(sample)))).transpose(2, 0, 1)
        assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_training_views_equal_pillows_crop_resize_and_mirror(photos: Dataset) -> None:
    beton = photos.split("train")
    boxes, mirrors = random_resized_crop(ALL, beton.heights, beton.widths, augment_seed=3, epoch=5)
    stream = Streaming(photos, resolution=96)
    epoch = stream.batches(ALL, batch_size=5, view="train", epoch=5, augment_seed=3)
    assert mirrors.any()
    assert not mirrors.all()
    for sample, ours in pixels_by_id(epoch).items():
        expected = box_by_pillow(photos, sample, boxes[sample].tolist(), 96)
        expected = expected[:, :, ::-1] if mirrors[sample] else expected
        reduced = min(boxes[sample, 2:]) >= 2 * 96
        assert np.abs(ours.astype(int) - expected).max() <= (40 if reduced else 1)


def test_scaled_decoding_equals_pillows_draft_mode(photos: Dataset) -> None:
    beton = photos.split("train")
    boxes, mirrors = random_resized_crop(ALL, beton.heights, beton.widths, augment_seed=0, epoch=0)
    stream = Streaming(photos, resolution=16)
    found, compared = pixels_by_id(stream.batches(ALL, batch_size=8)), 0
    for sample, ours in found.items():
        top, left, height, width = boxes[sample].tolist()
        by = max(k for k in (1, 2, 4, 8) if min(height, width) >= 16 * k)
        image = Image.open(io.BytesIO(beton.payload(sample).tobytes()))
        image.draft("RGB", (image.width // by, image.height // by))
        box = [round(edge / by) for edge in (left, top, left + width, top + height)]
        crop = image.convert("RGB").crop(tuple(box)).resize((16, 16), Image.Resampling.BILINEAR)
        expected = np.asarray(crop)[:, ::-1] if mirrors[sample] else np.asarray(crop)
        assert np.abs(ours.transpose(1, 2, 0).astype(int) - expected).max() <= 1
        compared += by > 1
    assert compared > 10


@pytest.mark.parametrize("view", ["train", "plain"])
def test_any_number_of_workers_gives_the_same_bytes(photos: Dataset, view: str) -> None:
    def epoch(workers: int, decoder: str = "auto") -> list[torch.Tensor]:
        stream = Streaming(photos, resolution=32, workers=workers, decoder=decoder)
        return [x for b in stream.batches(ALL, batch_size=7, view=view, epoch=2) for x in b]

    one = epoch(1)
    for other in (epoch(2), epoch(3), epoch(2, decoder="pillow")):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_sample_is_cropped_alike_whatever_batch_or_rank_it_is_in(photos: Dataset) -> None:
    stream = Streaming(photos, resolution=32)
    whole = pixels_by_id(stream.batches(ALL, batch_size=24, seed=1))
    parts: dict[int, np.ndarray] = {}
    for rank in range(3):
        parts |= pixels_by_id(stream.batches(ALL, batch_size=5, seed=9, rank=rank, world=3))
    assert parts.keys() == whole.keys()
    assert all((parts[k] == whole[k]).all() for k in whole)


def test_epochs_and_augment_seeds_differ(photos: Dataset) -> None:
    stream = Streaming(photos, resolution=32)

    def view(**options: Any) -> np.ndarray:
        return next(iter(stream.batches([7], batch_size=1, **options))).images.numpy()

    assert (view() == view()).all()
    assert (view() != view(epoch=1)).any()
    assert (view() != view(augment_seed=1)).any()


def test_resuming_in_mid_epoch_gives_the_tail(photos: Dataset) -> None:
    stream = Streaming(photos, resolution=32)
    whole = list(stream.batches(ALL, batch_size=7, epoch=3))
    tail = list(stream.batches(ALL, batch_size=7, epoch=3, start=2))
    assert [len(b.ids) for b in whole] == [7, 7, 7, 3]
    assert len(tail) == 2
    for expected, batch in zip(whole[2:], tail, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(expected, batch, strict=True))


def test_a_subset_by_index_keeps_its_order_and_repeats(photos: Dataset) -> None:
    stream = Streaming(photos, resolution=32)
    (batch,) = stream.batches([5, 23, 0, 5], batch_size=9, view="plain", shuffle=False)
    assert batch.ids.tolist() == [5, 23, 0, 5]
    assert torch.equal(batch.images[0], batch.images[3])


def test_no_index_gives_no_batch_and_no_thread(photos: Dataset) -> None:
    assert list(Streaming(photos, resolution=32).batches([], batch_size=4)) == []


def test_a_rank_without_a_share_still_gets_its_batch(photos: Dataset) -> None:
    stream = Streaming(photos, resolution=32)
    shares = [stream.batches(range(9), batch_size=8, rank=rank, world=4) for rank in range(4)]
    sizes = [[len(batch.images) for batch in share] for share in shares]
    assert sizes == [[2, 0], [2, 0], [2, 0], [2, 1]]


def test_raw_tiles_stream_as_they_are_stored(tiles: Dataset, tile_pixels: np.ndarray) -> None:
    for images, labels, ids in batches(tiles, np.arange(30), batch_size=8, tier="streaming"):
        np.testing.assert_array_equal(images.permute(0, 2, 3, 1), tile_pixels[ids])
        assert labels.tolist() == [k // 10 for k in ids.tolist()]


def test_batches_kept_are_never_overwritten(photos: Dataset) -> None:
    stream = Streaming(photos, resolution=32)
    kept = list(stream.batches(np.tile(ALL, 4), batch_size=4, shuffle=False))
    copies = [batch.images.clone() for batch in kept]
    for _ in stream.batches(np.tile(ALL, 4), batch_size=4, epoch=1):
        pass
    assert all(torch.equal(b.images, c) for b, c in zip(kept, copies, strict=True))


def test_memory_is_used_again_only_when_no_view_is_left() -> None:
    memory = BatchMemory(spare=2)
    first = memory.take(1000)
    view, address = first.view(10, 100)[3], first.data_ptr()
    del first
    assert memory.take(1000).data_ptr() != address
    del view
    again = [memory.take(1000), memory.take(900)]
    assert address in [tensor.data_ptr() for tensor in again]


def test_leaving_an_epoch_early_leaves_no_thread(photos: Dataset) -> None:
    stream = Streaming(photos, resolution=32, workers=2)
    for _ in stream.batches(ALL, batch_size=2):
        break
    assert not our_threads()
    with stream.batches(ALL, batch_size=2) as epoch:
        next(epoch)
        assert our_threads()
    assert not our_threads()
    assert list(epoch) == []
    epoch.close()


def our_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("engine-loading")]


@pytest.fixture
def damaged(photo_files: Path, tmp_path: Path) -> Dataset:
    """The photographs, with the data of samples 9 and 14 overwritten after the build."""
    build_beton(photo_files, tmp_path / "damaged", workers=1)
    dataset = open_dataset(tmp_path / "damaged")
    beton = dataset.split("train")
    with beton.path.open("r+b") as file:
        for sample in (14, 9):
            middle = int(beton.pointers[sample]) + int(beton.sizes[sample]) // 2
            file.seek(middle)
            file.write(bytes(int(beton.sizes[sample]) // 2))
    return dataset


@pytest.mark.parametrize("workers", [1, 3])
def test_a_damaged_image_is_named_where_its_batch_would_come(
    damaged: Dataset, workers: int
) -> None:
    stream = Streaming(damaged, resolution=200, workers=workers)
    epoch = stream.batches(ALL, batch_size=4, view="plain", shuffle=False)
    assert [next(epoch).ids.tolist() for _ in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(DamagedImage, match=r"sample 9 of .*train\.beton.*engine verify") as caught:
        next(epoch)
    assert caught.value.sample_id == 9
    assert caught.value.exit_code == 1
    assert list(epoch) == []


def test_a_size_that_contradicts_the_index_is_refused(photos: Dataset) -> None:
    stream = Streaming(photos, resolution=32)
    stream.beton.heights = stream.beton.heights.copy()
    stream.beton.heights[0] = 1000
    with pytest.raises(DamagedImage, match="its header says 64×97"):
        list(stream.batches([0], batch_size=1))


def test_an_error_in_a_worker_is_raised_not_waited_for(
    photos: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError("no room for tools")

    monkeypatch.setattr("engine.loading.streaming.ImageReader", broken)
    with pytest.raises(MemoryError, match="no room for tools"):
        list(Streaming(photos, resolution=32).batches(ALL, batch_size=4))


def test_indices_outside_the_split_are_refused(photos: Dataset) -> None:
    with pytest.raises(InvalidRequest, match="0 to 23"):
        Streaming(photos, resolution=32).batches([3, 24], batch_size=2)


def test_describe_says_how_pixels_are_made(photos: Dataset) -> None:
    with Streaming(photos, resolution=32, workers=2).batches(ALL, batch_size=5) as epoch:
        description = epoch.describe()
    assert description["tier"] == "streaming"
    assert description["view"] == "random_resized_crop"
    assert description["decoder"] == "turbojpeg"
    assert (description["workers"], description["num_batches"]) == (2, 5)


def test_describe_names_the_bottleneck(photos: Dataset) -> None:
    stream = Streaming(photos, resolution=32, workers=1)
    slow_consumer = stream.batches(ALL, batch_size=4)
    for _ in slow_consumer:
        time.sleep(0.05)
    assert slow_consumer.describe()["bottleneck"] == "consumer"
    fast_consumer = stream.batches(np.tile(ALL, 5), batch_size=60)
    list(fast_consumer)
    assert fast_consumer.describe()["bottleneck"] == "loading"


def test_a_thread_keeps_torch_to_one_core_for_itself_only() -> None:
    before, within = torch.get_num_threads(), []

    def work() -> None:
        use_one_openmp_thread()
        within.append(torch.get_num_threads())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert within == [1]
    assert torch.get_num_threads() == before


def test_streaming_needs_no_ffcv_and_leaves_torchs_threads_alone(photos: Dataset) -> None:
    program = f"""
import sys
sys.modules["ffcv"] = None
import torch
from beton_builder import open_dataset
from engine.loading import batches
before = torch.get_num_threads()
epoch = batches(open_dataset({str(photos.path)!r}), range(24), batch_size=5, resolution=32)
assert sum(len(batch.ids) for batch in epoch) == 24
assert torch.get_num_threads() == before
next(batches(open_dataset({str(photos.path)!r}), range(24), batch_size=5, resolution=32))
print("left in mid-epoch")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "left in mid-epoch\n"), done.stderr
