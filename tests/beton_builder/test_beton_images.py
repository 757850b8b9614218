"""What is stored of one image, against Pillow, torchvision's rules and stock FFCV."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from beton_samples import as_jpeg, as_png, smooth_pixels, some_pixels
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beton_builder import jpeg
from beton_builder.images import MODE_JPEG, MODE_RAW, StorageRules, check_png, store
from beton_builder.jpeg import ImageProblem

AUTO = StorageRules()
MARKERS = StorageRules(jpeg_check="markers")
PHOTO = smooth_pixels(40, 64)


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_is_stored_as_the_bytes_it_came_in(mode: str, options: dict) -> None:
    data = as_jpeg(PHOTO, mode, **options)
    stored = store(data, AUTO)
    assert (stored.payload, stored.mode, stored.grey) == (data, MODE_JPEG, mode == "L")
    assert (stored.height, stored.width) == (40, 64)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("with_turbojpeg", [True, False])
def test_a_jpeg_stored_raw_has_pillows_pixels(
    options: dict, with_turbojpeg: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_turbojpeg:
        monkeypatch.setattr(jpeg, "TURBOJPEG", None)
    data = as_jpeg(PHOTO, **options)
    stored = store(data, StorageRules(image_mode="raw"))
    np.testing.assert_array_equal(stored.decoded(), opened(data))
    assert bytes(stored.payload) == opened(data).tobytes()


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA"])
def test_a_png_of_any_colour_model_is_stored_as_torchvision_loads_it(mode: str) -> None:
    image = Image.fromarray(PHOTO).convert("RGBA")
    image.putalpha(Image.fromarray(PHOTO[..., 0]))
    data = io.BytesIO()
    image.convert(mode).save(data, "PNG")
    stored = store(data.getvalue(), AUTO)
    assert (stored.mode, stored.grey) == (MODE_RAW, mode in ("L", "1", "LA"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's about transparent palettes
        expected = opened(data.getvalue())
    np.testing.assert_array_equal(stored.decoded(), expected)


def test_a_palette_with_transparency_keeps_its_colours_without_a_warning() -> None:
    data = io.BytesIO()
    image = Image.fromarray(PHOTO).quantize(7)
    image.save(data, "PNG", transparency=bytes([0, 128, 255]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stored = store(data.getvalue(), AUTO)
    np.testing.assert_array_equal(stored.decoded(), np.asarray(image.convert("RGB")))


def test_sixteen_bit_grey_keeps_the_high_byte() -> None:
    values = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    data = io.BytesIO()
    Image.fromarray(values).save(data, "PNG")
    stored = store(data.getvalue(), AUTO)
    assert stored.grey
    np.testing.assert_array_equal(stored.decoded()[..., 1], values >> 8)


def test_cmyk_is_converted_because_the_loader_could_not() -> None:
    data = as_jpeg(PHOTO, "CMYK")
    stored = store(data, AUTO)
    assert stored.mode == MODE_JPEG
    assert jpeg.read_header(bytes(stored.payload)).components == 3
    np.testing.assert_allclose(stored.decoded().mean(), opened(data).mean(), atol=2)


def test_exif_orientation_is_left_alone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = as_jpeg(PHOTO, exif=exif)
    assert store(data, AUTO).payload == data
    assert store(data, StorageRules(image_mode="raw")).height == 40


def test_jpeg_mode_encodes_what_is_not_a_jpeg_and_keeps_grey_grey() -> None:
    rules = StorageRules(image_mode="jpeg", jpeg_quality=95)
    stored = store(as_png(PHOTO, "L"), rules)
    planes = stored.decoded()
    assert stored.mode == MODE_JPEG
    assert stored.grey
    np.testing.assert_array_equal(planes[..., 0], planes[..., 2])
    assert len(store(as_png(PHOTO), rules).payload) > len(
        store(as_png(PHOTO), StorageRules(image_mode="jpeg", jpeg_quality=30)).payload
    )


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 300))
def test_sizes_after_max_resolution_are_stock_ffcvs(height: int, width: int, most: int) -> None:
    ratio = most / np.array([width, height]).max()  # ffcv.fields.rgb_image.resizer
    expected = (np.array([width, height]), (ratio * np.array([width, height])).astype(int))[
        int(ratio < 1)
    ]
    found = StorageRules(max_resolution=most).resized(height, width)
    assert found == tuple(np.maximum(expected[::-1], 1))


def test_only_images_beyond_max_resolution_are_touched() -> None:
    data = as_jpeg(PHOTO)
    assert store(data, StorageRules(max_resolution=64)).payload == data
    smaller = store(data, StorageRules(max_resolution=32))
    assert (smaller.mode, smaller.height, smaller.width) == (MODE_JPEG, 20, 32)


@given(st.integers(1, 5000))
def test_a_truncated_jpeg_is_found_wherever_it_ends(cut: int) -> None:
    data = as_jpeg(some_pixels(1, 48, 48)[0], quality=90)
    for rules in (AUTO, MARKERS):
        with pytest.raises(ImageProblem):
            store(data[: -min(cut, len(data) - 3)], rules)


@given(st.integers(1, 3000))
def test_a_truncated_png_is_found_wherever_it_ends(cut: int) -> None:
    data = as_png(some_pixels(1, 24, 24)[0])
    with pytest.raises(ImageProblem, match="truncated PNG"):
        store(data[: -min(cut, len(data) - 8)], AUTO)


@given(st.integers(8, 1000), st.integers(0, 7))
def test_any_flipped_bit_of_a_png_is_found(position: int, bit: int) -> None:
    data = bytearray(as_png(some_pixels(1, 16, 16)[0]))
    data[position % (len(data) - 8) + 8] ^= 1 << bit
    with pytest.raises(ImageProblem):
        store(bytes(data), AUTO)


def test_zeroed_image_data_is_found_by_both_checks() -> None:
    data = as_jpeg(some_pixels(1, 64, 64)[0])
    lost_tail = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    for rules in (AUTO, MARKERS):
        with pytest.raises(ImageProblem, match=r"truncated|does not decode"):
            store(lost_tail, rules)


def test_broken_image_data_with_an_end_marker_is_found_by_decoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = as_jpeg(some_pixels(1, 64, 64)[0])
    broken = data[: len(data) // 2] + data[-2:]
    assert store(broken, MARKERS).payload == broken
    with pytest.raises(ImageProblem, match="does not decode"):
        store(broken, AUTO)


def test_without_turbojpeg_truncation_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "TURBOJPEG", None)
    data = as_jpeg(PHOTO)
    assert store(data, AUTO).payload == data
    with pytest.raises(ImageProblem, match="truncated"):
        store(data[:-100], AUTO)


def with_frame(data: bytes, marker: int, precision: int = 8, components: int = 3) -> bytes:
    """The JPEG with its frame header rewritten."""
    at = data.index(b"\xff\xc0")
    head = bytes([0xFF, marker]) + data[at + 2 : at + 4] + bytes([precision])
    return data[:at] + head + data[at + 5 : at + 9] + bytes([components]) + data[at + 10 :]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"this is a text file", "neither JPEG nor PNG: it begins with b'this is '"),
        (with_frame(as_jpeg(PHOTO), 0xC1, precision=12), "12-bit JPEG"),
        (with_frame(as_jpeg(PHOTO), 0xC3), "SOF3"),
        (with_frame(as_jpeg(PHOTO), 0xC9), "SOF9"),
        (with_frame(as_jpeg(PHOTO), 0xC0, components=2), "2 colour components"),
        (b"\xff\xd8\xff\xd9", "broken JPEG: no image data"),
        (b"\xff\xd8\xff\xe0\x00", "truncated JPEG"),
        (b"\xff\xd8\xff\xe0\x00\x04ab no marker", "no marker at byte"),
        (b"GIF89a", "neither JPEG nor PNG"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageProblem, match=reason):
        store(data, AUTO)


def test_a_decompression_bomb_is_refused() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        crc = zlib.crc32(kind + body)
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)
    check_png(data)
    with pytest.raises(ImageProblem, match="exceeds limit"):
        store(data, AUTO)


def test_a_side_that_the_format_cannot_hold_is_refused() -> None:
    with pytest.raises(ImageProblem, match="at most 65535"):
        store(as_png(np.zeros((1, 65_536, 3), np.uint8)), AUTO)
