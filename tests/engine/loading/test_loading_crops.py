"""Boxes against a scalar reimplementation and torchvision's own."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.functional import _compute_resized_output_size

from engine.augment.philox import stream_key
from engine.loading.crops import centre_crop, random_resized_crop

SIDE = st.integers(1, 2000)


def scalar_crop(
    sample: int, height: int, width: int, seed: int, epoch: int
) -> tuple[tuple[int, int, int, int], bool]:
    """torchvision's get_params, one sample at a time, drawing from numpy's own Philox."""

    def draw(block: int) -> list[float]:
        words = np.array(stream_key("random_resized_crop", seed, epoch), np.uint64)
        counter = np.array([sample, block, 0, 0], np.uint64)
        return np.random.Generator(np.random.Philox(key=words, counter=counter)).random(4).tolist()

    mirror = draw(10)[0] < 0.5
    for attempt in range(10):
        area_u, ratio_u, top_u, left_u = draw(attempt)
        area = height * width * (0.08 + 0.92 * area_u)
        ratio = math.exp(math.log(3 / 4) + ratio_u * (math.log(4 / 3) - math.log(3 / 4)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return (int(top_u * (height - h + 1)), int(left_u * (width - w + 1)), h, w), mirror
    w, h = width, height
    if width / height < 3 / 4:
        h = round(width / (3 / 4))
    elif width / height > 4 / 3:
        w = round(height * (4 / 3))
    return ((height - h) // 2, (width - w) // 2, h, w), mirror


@given(
    sizes=st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=8),
    first=st.integers(0, 2**40),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 1000),
)
def test_boxes_equal_a_scalar_reimplementation(
    sizes: list[tuple[int, int]], first: int, seed: int, epoch: int
) -> None:
    ids = np.arange(first, first + len(sizes))
    heights, widths = np.array(sizes).T
    boxes, mirrors = random_resized_crop(ids, heights, widths, augment_seed=seed, epoch=epoch)
    for k, sample in enumerate(ids.tolist()):
        expected = scalar_crop(sample, *sizes[k], seed, epoch)
        assert (tuple(boxes[k].tolist()), bool(mirrors[k])) == expected


@given(height=SIDE, width=SIDE, seed=st.integers(0, 99))
def test_boxes_lie_within_the_image(height: int, width: int, seed: int) -> None:
    ids = np.arange(20)
    boxes, _ = random_resized_crop(
        ids, np.full(20, height), np.full(20, width), augment_seed=seed, epoch=0
    )
    top, left, box_h, box_w = boxes.T
    assert (boxes >= 0).all()
    assert min(box_h.min(), box_w.min()) >= 1
    assert (top + box_h).max() <= height
    assert (left + box_w).max() <= width


def test_areas_and_ratios_are_distributed_as_torchvisions() -> None:
    n, height, width = 4000, 375, 500
    boxes, mirrors = random_resized_crop(
        np.arange(n), np.full(n, height), np.full(n, width), augment_seed=1, epoch=2
    )
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(n)]
    )
    for measure in (lambda b: b[:, 2] * b[:, 3] / height / width, lambda b: b[:, 3] / b[:, 2],
                    lambda b: b[:, 0] / height, lambda b: b[:, 1] / width):  # fmt: skip
        quantiles = np.linspace(0.05, 0.95, 10)
        np.testing.assert_allclose(
            np.quantile(measure(boxes), quantiles), np.quantile(measure(theirs), quantiles),
            atol=0.035,
        )  # fmt: skip
    assert abs(mirrors.mean() - 0.5) < 0.03


@pytest.mark.parametrize(("size", "kept"), [((10, 1000), (10, 13)), ((1000, 10), (13, 10))])
def test_extreme_shapes_fall_back_to_the_largest_centred_box(
    size: tuple[int, int], kept: tuple[int, int]
) -> None:
    ids = np.arange(50)
    heights, widths = np.full(50, size[0]), np.full(50, size[1])
    boxes, _ = random_resized_crop(ids, heights, widths, augment_seed=0, epoch=0)
    centred = [(size[0] - kept[0]) // 2, (size[1] - kept[1]) // 2, *kept]
    assert centred in boxes.tolist()


@given(height=st.integers(1, 2000), width=st.integers(1, 2000), out=st.integers(1, 300))
def test_centre_crops_are_torchvisions_to_the_pixel(height: int, width: int, out: int) -> None:
    resized_h, resized_w, top, left = centre_crop([height], [width], out)[0].tolist()
    shorter_to = round(out * 256 / 224)
    size = _compute_resized_output_size((height, width), [shorter_to])
    assert [resized_h, resized_w] == size
    assert (top, left) == (round((resized_h - out) / 2.0), round((resized_w - out) / 2.0))
    assert min(top, left) >= 0
