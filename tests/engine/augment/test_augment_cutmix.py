"""CutMix against a computation pixel by pixel, with numpy's own generator."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.augment import Mix, apply_mix, draw_mixes


def drawn(stream: str, seed: int, epoch: int, counter: int, block: int = 0) -> np.ndarray:
    key = np.array([(zlib.crc32(stream.encode()) << 32) | seed, epoch], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=[counter, block, 0, 0])).random(4)


def box_as_its_authors_draw_it(kept, row, column, height, width) -> tuple[int, int, int, int]:
    """rand_bbox of the CutMix authors, with the uniforms given."""
    cut_ratio = np.sqrt(1.0 - kept)
    cut_w, cut_h = int(width * cut_ratio), int(height * cut_ratio)
    cx, cy = int(column * width), int(row * height)
    top, bottom = np.clip(cy - cut_h // 2, 0, height), np.clip(cy + cut_h // 2, 0, height)
    left, right = np.clip(cx - cut_w // 2, 0, width), np.clip(cx + cut_w // 2, 0, width)
    return int(top), int(bottom), int(left), int(right)


def mixed_pixel_by_pixel(mix: Mix, images: np.ndarray, targets: np.ndarray):
    """Each pixel brings its image's target along, so areas are counted, not computed."""
    mixed, mixed_targets = images.copy(), np.zeros(targets.shape)
    batch, _, height, width = images.shape
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                inside = mix.top <= y < mix.bottom and mix.left <= x < mix.right
                source = mix.partners[b] if inside else b
                mixed[b, :, y, x] = images[source, :, y, x]
                mixed_targets[b] += targets[source] / (height * width)
    return mixed, mixed_targets


def batch_of(count: int, height: int, width: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, 3, height, width), dtype=np.uint8)
    targets = generator.random((count, 5), dtype=np.float32)
    return images, targets / targets.sum(axis=1, keepdims=True)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 3000),
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    height=st.integers(4, 33),
    width=st.integers(4, 33),
)
def test_boxes_and_partners_are_those_of_the_authors_from_seed_epoch_and_batch(
    seed, epoch, sizes, height, width
) -> None:
    mixes = draw_mixes(seed, epoch, sizes, height, width)
    for number, (size, mix) in enumerate(zip(sizes, mixes, strict=True)):
        kept, row, column, _ = drawn("cutmix-box", seed, epoch, number)
        assert mix[1:] == box_as_its_authors_draw_it(kept, row, column, height, width)
        keys = [drawn("cutmix-partner", seed, epoch, i, number)[0] for i in range(size)]
        assert mix.partners.tolist() == sorted(range(size), key=lambda i: keys[i])


@pytest.mark.parametrize("channels_last", [False, True])
def test_pixels_and_targets_are_mixed_by_the_boxs_exact_area(channels_last: bool) -> None:
    for number, mix in enumerate(draw_mixes(1, 2, [6] * 12, 9, 12)):
        images, targets = batch_of(6, 9, 12, seed=number)
        given_images = torch.from_numpy(images)
        if channels_last:
            given_images = given_images.contiguous(memory_format=torch.channels_last)
        found, found_targets = apply_mix(mix, given_images, torch.from_numpy(targets))
        expected, expected_targets = mixed_pixel_by_pixel(mix, images, targets)
        np.testing.assert_array_equal(found.numpy(), expected)
        np.testing.assert_allclose(found_targets.numpy(), expected_targets, atol=1e-6)
        assert (given_images.numpy() == images).all()
        assert found_targets.dtype == torch.float32


def test_a_batch_of_one_is_its_own_partner() -> None:
    (mix,) = draw_mixes(0, 0, [1], 8, 8)
    images, targets = batch_of(1, 8, 8)
    found, found_targets = apply_mix(mix, torch.from_numpy(images), torch.from_numpy(targets))
    np.testing.assert_array_equal(found.numpy(), images)
    np.testing.assert_allclose(found_targets.numpy(), targets, atol=1e-7)


def test_a_batchs_mix_does_not_depend_on_the_others_nor_on_its_place_among_more() -> None:
    first = draw_mixes(4, 7, [8, 8, 8], 16, 16)
    other = draw_mixes(4, 7, [3, 8], 16, 16)
    assert first[1][1:] == other[1][1:]
    np.testing.assert_array_equal(first[1].partners, other[1].partners)
    assert draw_mixes(4, 8, [8], 16, 16)[0][1:] != first[0][1:]


def test_half_of_an_image_is_foreign_before_borders_clip_it() -> None:
    """lambda is uniform, so 1/2 on average; a centre anywhere in the image clips some of it."""
    mixes = draw_mixes(0, 0, [2] * 4000, 32, 32)
    shares = np.array([mix.foreign_share(32, 32) for mix in mixes])
    generator = np.random.default_rng(0)
    expected = []
    for kept, row, column in generator.random((4000, 3)):
        top, bottom, left, right = box_as_its_authors_draw_it(kept, row, column, 32, 32)
        expected.append((bottom - top) * (right - left) / 32**2)
    error = math.hypot(shares.std(), np.std(expected)) / math.sqrt(4000)
    assert abs(shares.mean() - np.mean(expected)) < 5 * error
    assert sum(mix.partners.tolist() == [1, 0] for mix in mixes) == pytest.approx(2000, abs=160)
