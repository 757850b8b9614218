"""Pictures: small images pixel for pixel, large ones small enough."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from engine.report.explorer.pictures import picture, read_pictures


def pixels_of(address):
    head, _, code = address.partition(";base64,")
    return head, np.asarray(Image.open(io.BytesIO(base64.b64decode(code))))


def test_small_images_are_shown_pixel_for_pixel(data):
    shown = read_pictures(data, np.array([5, 0]))
    with data.split("train") as beton:
        for i, each in zip((5, 0), shown, strict=True):
            head, pixels = pixels_of(each.address)
            assert (head, each.is_exact) == ("data:image/png", True)
            assert (pixels == beton.image(i)).all()


def test_of_greyscale_images_one_plane_is_stored():
    planes = np.arange(64, dtype=np.uint8).reshape(8, 8)
    shown = picture(np.repeat(planes[..., None], 3, axis=2), channels=1)
    assert (pixels_of(shown.address)[1] == planes).all()


def test_large_images_are_shrunk_and_keep_their_proportions():
    noise = np.random.default_rng(0).integers(0, 256, (300, 600, 3)).astype(np.uint8)
    shown = picture(noise)
    head, pixels = pixels_of(shown.address)
    assert (head, pixels.shape) == ("data:image/jpeg", (48, 96, 3))
    assert (shown.width, shown.height, shown.is_exact) == (96, 48, False)
    assert len(shown.address) < 8_000
