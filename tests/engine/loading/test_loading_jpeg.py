"""Decoders against Pillow, and their refusal of what is damaged."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from engine.loading.errors import DecoderMissing
from engine.loading.jpeg import (
    PillowDecoder,
    TurboDecoder,
    UndecodableJpeg,
    choose_decoder,
    read_frame,
)


def encoded(height: int, width: int, seed: int = 0, **options: object) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", **options)
    return np.frombuffer(file.getvalue(), np.uint8)


@pytest.mark.parametrize("decoder", [TurboDecoder, PillowDecoder])
def test_whole_images_equal_pillows_bit_for_bit(photo_files: Path, decoder: type) -> None:
    tool = decoder()
    for file in photo_files.rglob("*.jpg"):
        payload = np.fromfile(file, np.uint8)
        expected = np.asarray(Image.open(file).convert("RGB"))
        np.testing.assert_array_equal(tool.decode(payload, read_frame(payload)), expected)
    tool.close()


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 40),
    subsampling=st.integers(0, 2),
    progressive=st.booleans(),
    restart=st.integers(0, 3),
    wanted=st.integers(1, 90),
)
@example(height=64, width=40, subsampling=2, progressive=False, restart=0, wanted=16)
@example(height=64, width=40, subsampling=2, progressive=False, restart=1, wanted=32)
def test_stopping_early_changes_no_row_above(
    height: int, width: int, subsampling: int, progressive: bool, restart: int, wanted: int
) -> None:
    payload = encoded(
        height, width, subsampling=subsampling, progressive=progressive, restart_marker_rows=restart
    )
    rows = min(wanted, height)
    tool, frame = TurboDecoder(), read_frame(payload)
    whole = tool.decode(payload, frame).copy()
    cut = tool.decode(payload, frame, rows=rows)
    np.testing.assert_array_equal(cut[:rows], whole[:rows])
    tool.close()


def test_stopping_early_really_decodes_less() -> None:
    payload = encoded(400, 40)
    tool = TurboDecoder()
    assert len(tool.decode(payload, read_frame(payload), rows=30)) < 64
    tool.close()


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_both_decoders_reduce_alike(photo_files: Path, reduction: int) -> None:
    turbo, pillow = TurboDecoder(), PillowDecoder()
    for file in sorted(photo_files.rglob("*.jpg"))[:8]:
        payload = np.fromfile(file, np.uint8)
        frame = read_frame(payload)
        ours = turbo.decode(payload, frame, reduction=reduction)
        np.testing.assert_array_equal(ours, pillow.decode(payload, frame, reduction=reduction))
        cut = turbo.decode(payload, frame, rows=frame.height // 2, reduction=reduction)
        kept = frame.height // 2 // reduction
        np.testing.assert_array_equal(
            cut[:kept], pillow.decode(payload, frame, reduction=reduction)[:kept]
        )
    turbo.close()


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\xff\xd8",
        b"not a JPEG at all",
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        b"\xff\xd8\x00\x00\x00",
    ],
)
def test_bytes_that_are_no_jpeg_are_refused(broken: bytes) -> None:
    with pytest.raises(UndecodableJpeg):
        read_frame(np.frombuffer(broken, np.uint8))


@given(keep=st.integers(0, 700))
def test_any_truncation_of_the_headers_or_data_is_refused(keep: int) -> None:
    whole = encoded(60, 60, quality=95)
    cut = whole[: min(keep, len(whole) - 3)]
    tool = TurboDecoder()
    with pytest.raises(UndecodableJpeg):
        tool.decode(cut, read_frame(cut))
    tool.close()


@pytest.mark.parametrize("decoder", [TurboDecoder, PillowDecoder])
def test_a_truncated_image_does_not_decode(decoder: type) -> None:
    payload = encoded(120, 120, quality=95)
    payload = payload[: len(payload) // 2]
    with pytest.raises(UndecodableJpeg):
        decoder().decode(payload, read_frame(payload))


def test_data_overwritten_with_zeros_does_not_decode() -> None:
    payload = encoded(120, 120, quality=95).copy()
    payload[len(payload) // 2 : -2] = 0
    with pytest.raises(UndecodableJpeg):
        TurboDecoder().decode(payload, read_frame(payload))


def test_without_the_library_pillow_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise DecoderMissing("no libturbojpeg")

    monkeypatch.setattr("engine.loading.jpeg._turbojpeg", missing)
    assert choose_decoder("auto") is PillowDecoder
    with pytest.raises(DecoderMissing):
        choose_decoder("turbojpeg")
