"""Each DSA operation against scalar numpy and scipy computations of docs/protocol.md §1."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from engine.augment import OPERATIONS, apply_operation, draw_operations, draw_parameters


def images_and_uniforms(batch: int = 6, channels: int = 3, side: int = 12, seed: int = 0):
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(batch, channels, side, side)).astype(np.float32)
    return images, generator.random((batch, 4)).astype(np.float32)


def run(name: str, images: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    result = apply_operation(name, torch.from_numpy(images), torch.from_numpy(uniforms))
    return result.numpy()


def color_of_one(image, u):
    image = image.astype(np.float64) + (u[0] - 0.5)
    grey = image.mean(0, keepdims=True)
    image = (image - grey) * (2 * u[1]) + grey
    return (image - image.mean()) * (u[2] + 0.5) + image.mean()


def crop_of_one(image, u):
    side = image.shape[1]
    reach = int(side * 0.125 + 0.5)
    down, right = (int(u[axis] * (2 * reach + 1)) - reach for axis in (0, 1))
    result = np.zeros_like(image)
    for y in range(side):
        for x in range(side):
            if 0 <= y + down < side and 0 <= x + right < side:
                result[:, y, x] = image[:, y + down, x + right]
    return result


def cutout_of_one(image, u):
    side = image.shape[1]
    length = int(side * 0.5 + 0.5)
    top, left = (int(u[axis] * (side + 1 - length % 2)) - length // 2 for axis in (0, 1))
    result = image.copy()
    result[:, max(top, 0) : max(top + length, 0), max(left, 0) : max(left + length, 0)] = 0
    return result


def flip_of_one(image, u):
    return image[:, :, ::-1] if u[0] < 0.5 else image


def warp_of_one(image, matrix):
    """Bilinear sampling with aligned corners and zeros outside, in float64."""
    side = image.shape[1]
    axis = np.linspace(-1, 1, side)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    source_x = (matrix[0][0] * x + matrix[0][1] * y + 1) * (side - 1) / 2
    source_y = (matrix[1][0] * x + matrix[1][1] * y + 1) * (side - 1) / 2
    return np.stack(
        [
            map_coordinates(
                np.pad(plane.astype(np.float64), 1),
                [source_y + 1, source_x + 1],
                order=1,
                mode="grid-constant",
            )
            for plane in image
        ]
    )


def scale_of_one(image, u):
    low = 1 / 1.2
    return warp_of_one(image, [[u[0] * (1.2 - low) + low, 0], [0, u[1] * (1.2 - low) + low]])


def rotate_of_one(image, u):
    angle = math.radians((u[0] - 0.5) * 30)
    return warp_of_one(
        image, [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )


REFERENCES = {
    "color": color_of_one,
    "crop": crop_of_one,
    "cutout": cutout_of_one,
    "flip": flip_of_one,
    "scale": scale_of_one,
    "rotate": rotate_of_one,
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(("channels", "side"), [(3, 12), (1, 28), (3, 32)])
def test_operation_equals_a_computation_image_by_image(name: str, channels: int, side: int) -> None:
    images, uniforms = images_and_uniforms(channels=channels, side=side)
    uniforms[0], uniforms[1] = 0.0, 1 - 2**-24
    expected = np.stack([REFERENCES[name](i, u) for i, u in zip(images, uniforms, strict=True)])
    np.testing.assert_allclose(run(name, images, uniforms), expected, atol=2e-4)


@settings(deadline=None, max_examples=25)
@given(name=st.sampled_from(sorted(OPERATIONS)), seed=st.integers(0, 1000))
def test_a_sample_is_augmented_the_same_in_any_batch_and_layout(name: str, seed: int) -> None:
    images, uniforms = images_and_uniforms(batch=5, seed=seed)
    together = run(name, images, uniforms)
    alone = np.concatenate([run(name, images[i : i + 1], uniforms[i : i + 1]) for i in range(5)])
    channels_last = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
    other_layout = apply_operation(name, channels_last, torch.from_numpy(uniforms)).numpy()
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(together, other_layout, atol=1e-5)


def test_operations_are_drawn_evenly_and_from_seed_and_epoch() -> None:
    drawn = draw_operations(0, 0, 6000)
    counts = [drawn.count(name) for name in OPERATIONS]
    assert min(counts) > 900
    assert drawn[:50] == draw_operations(0, 0, 50)
    assert drawn[:50] != draw_operations(0, 1, 50) != draw_operations(1, 0, 50)


def test_parameters_follow_the_sample_id_not_its_place_in_the_batch() -> None:
    ids = np.array([7, 3, 900_000])
    drawn = draw_parameters(5, 2, ids)
    assert drawn.shape == (3, 4)
    np.testing.assert_array_equal(draw_parameters(5, 2, ids[::-1]), drawn[::-1])
    assert not np.array_equal(drawn, draw_parameters(5, 3, ids))
