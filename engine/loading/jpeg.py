"""JPEG bytes to pixels, reading no further than the crop needs.

In: the bytes of one JPEG, how many of its rows are wanted, and a whole reduction (1, 2, 4, 8).
Out: an RGB array in the decoder's own scratch memory, valid until its next call.

Two decoders with equal pixels (accurate integer DCT, smooth chroma upsampling; a test compares
them), one per thread:

- :class:`TurboDecoder` calls libturbojpeg, the library that FFCV's own native part links to, with
  one handle per thread. Rows below the crop are not entropy-decoded: the height in the frame
  header of a *copy* of the bytes is lowered, so that the decoder stops there. Measured with random
  resized crops of ImageNet images: 1,030 µs instead of 1,180 µs an image.
- :class:`PillowDecoder` needs no system library and takes about 1.7 times as long.

A decoder's warnings are errors here, as they are when a dataset is built, since a damaged stream
otherwise gives grey or stale pixels under a valid label. The one exception is bytes left over when
the decoder was told to stop early.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import io
import re
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from engine.loading.errors import DecoderMissing

__all__ = [
    "Frame",
    "JpegDecoder",
    "PillowDecoder",
    "TurboDecoder",
    "UndecodableJpeg",
    "choose_decoder",
    "read_frame",
]

Pixels = npt.NDArray[np.uint8]

_PIXEL_FORMAT_RGB = 0
_ERROR_CODE_WARNING = 0
# Before the end marker (D9), or before the next restart marker (D0 to D7).
_BYTES_LEFT_OVER = re.compile(rb"extraneous bytes before marker 0xd[0-79]$")
# Smooth chroma upsampling looks one chroma row, at most two image rows, beyond the last.
_ROW_MARGIN = 2
_SIZED_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL_HUFFMAN = (0xC0, 0xC1)


class UndecodableJpeg(ValueError):
    """These bytes do not decode; the caller knows which sample they belong to."""


@dataclass(frozen=True)
class Frame:
    """What the headers say: size in pixels, where the height is written, and rows per MCU row.

    ``mcu_height`` is 0 when the stream cannot be cut short (progressive, arithmetic or with one
    scan per colour).
    """

    height: int
    width: int
    height_offset: int
    mcu_height: int


class JpegDecoder(Protocol):
    """One thread's decoder."""

    name: str

    def decode(
        self, payload: Pixels, frame: Frame, *, rows: int | None = None, reduction: int = 1
    ) -> Pixels: ...

    def close(self) -> None: ...


def read_frame(payload: Pixels) -> Frame:
    """Read a JPEG's headers up to its first scan. ``payload``: (n,) uint8.

    Raises UndecodableJpeg when they are not those of a JPEG.
    """
    data = payload.data
    if len(data) < 4 or bytes(data[:2]) != b"\xff\xd8":
        raise UndecodableJpeg("it does not begin as a JPEG does (bytes FF D8)")
    position, frame = 2, None
    try:
        while True:
            lead, marker, length = struct.unpack_from(">BBH", data, position)
            if lead != 0xFF or length < 2:
                raise UndecodableJpeg(f"no marker at byte {position} of its headers")
            if marker == 0xFF:  # a fill byte
                position += 1
                continue
            if marker in _SIZED_FRAMES:
                height, width, components = struct.unpack_from(">HHB", data, position + 5)
                sampling = [data[position + 11 + 3 * c] & 15 for c in range(components)]
                frame = (marker, height, width, position + 5, sampling)
            elif marker == 0xDA:
                break
            position += 2 + length
        scan_components = data[position + 4]
    except (struct.error, IndexError):
        raise UndecodableJpeg("its headers end too early") from None
    if frame is None:
        raise UndecodableJpeg("it has no frame header")
    kind, height, width, offset, sampling = frame
    mcu_height = 0
    if kind in _SEQUENTIAL_HUFFMAN and scan_components == len(sampling):
        # A scan of one component is not interleaved: its unit is one block whatever the sampling.
        mcu_height = 8 * (max(sampling) if len(sampling) > 1 else 1)
    return Frame(height, width, offset, mcu_height)


class TurboDecoder:
    """libturbojpeg through ctypes, which releases the interpreter lock while it decodes."""

    name = "turbojpeg"

    def __init__(self) -> None:
        self._library = _turbojpeg()
        self._handle = ctypes.c_void_p(self._library.tjInitDecompress())
        self._pixels = np.empty(0, np.uint8)
        self._bytes = np.empty(0, np.uint8)

    def decode(
        self, payload: Pixels, frame: Frame, *, rows: int | None = None, reduction: int = 1
    ) -> Pixels:
        """Decode the first ``rows`` rows (all by default), each side divided by ``reduction``.

        ``payload``: (n,) uint8; ``frame``: its :func:`read_frame`; ``rows``: in pixels of the full
        image. Returns uint8 (rows / reduction or more, width / reduction, 3), rounded up.
        Raises UndecodableJpeg.
        """
        height = frame.height
        if rows is not None and frame.mcu_height:
            units = -(-(rows + _ROW_MARGIN * reduction) // frame.mcu_height)
            height = min(height, units * frame.mcu_height)
        if height < frame.height:
            payload = self._with_height(payload, frame, height)
        out_h, out_w = -(-height // reduction), -(-frame.width // reduction)
        size = out_h * out_w * 3
        if self._pixels.size < size:
            self._pixels = np.empty(size, np.uint8)
        status = self._library.tjDecompress2(
            self._handle,
            payload.ctypes.data,
            payload.size,
            self._pixels.ctypes.data,
            out_w,
            0,
            out_h,
            _PIXEL_FORMAT_RGB,
            0,
        )
        if status:
            self._judge(stopped_early=height < frame.height)
        return self._pixels[:size].reshape(out_h, out_w, 3)

    def close(self) -> None:
        if self._handle:
            self._library.tjDestroy(self._handle)
            self._handle = ctypes.c_void_p()

    def _with_height(self, payload: Pixels, frame: Frame, height: int) -> Pixels:
        if self._bytes.size < payload.size:
            self._bytes = np.empty(payload.size * 3 // 2, np.uint8)
        copy = self._bytes[: payload.size]
        copy[:] = payload
        copy[frame.height_offset : frame.height_offset + 2] = divmod(height, 256)
        return copy

    def _judge(self, *, stopped_early: bool) -> None:
        message = self._library.tjGetErrorStr2(self._handle)
        warned = self._library.tjGetErrorCode(self._handle) == _ERROR_CODE_WARNING
        if not (stopped_early and warned and _BYTES_LEFT_OVER.search(message)):
            raise UndecodableJpeg(message.decode("ascii", "replace"))


class PillowDecoder:
    """Pillow's own libjpeg-turbo: always there, the same pixels, slower."""

    name = "pillow"

    def decode(
        self, payload: Pixels, frame: Frame, *, rows: int | None = None, reduction: int = 1
    ) -> Pixels:
        """As :meth:`TurboDecoder.decode`; always decodes every row."""
        from PIL import Image

        try:
            with Image.open(io.BytesIO(payload.tobytes())) as image:
                if reduction > 1:
                    image.draft("RGB", (frame.width // reduction, frame.height // reduction))
                return np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise UndecodableJpeg(str(error)) from error

    def close(self) -> None:
        return None


def choose_decoder(name: str = "auto") -> type[TurboDecoder] | type[PillowDecoder]:
    """The decoder class for "turbojpeg", "pillow" or "auto" (turbojpeg where it is installed).

    Raises DecoderMissing when turbojpeg is asked for and absent, ValueError for another name.
    """
    if name == "pillow":
        return PillowDecoder
    if name not in ("auto", "turbojpeg"):
        raise ValueError(f'decoder: expected "auto", "turbojpeg" or "pillow", got {name!r}')
    try:
        _turbojpeg()
    except DecoderMissing:
        if name == "turbojpeg":
            raise
        return PillowDecoder
    return TurboDecoder


@cache
def _turbojpeg() -> Any:
    library = None
    for candidate in ("libturbojpeg.so.0", ctypes.util.find_library("turbojpeg")):
        try:
            library = ctypes.CDLL(candidate) if candidate else None
        except OSError:
            continue
        if library is not None:
            break
    if library is None:
        raise DecoderMissing(
            "libturbojpeg was not found on this machine. Next: `apt-get install libturbojpeg0` "
            '(scripts/setup does it), or use decoder="pillow", which gives the same pixels slower'
        )
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    library.tjInitDecompress.restype = pointer
    library.tjDestroy.argtypes = [pointer]
    library.tjDecompress2.argtypes = [
        pointer, pointer, ctypes.c_ulong, pointer, integer, integer, integer, integer, integer,
    ]  # fmt: skip
    library.tjGetErrorStr2.argtypes = [pointer]
    library.tjGetErrorStr2.restype = ctypes.c_char_p
    library.tjGetErrorCode.argtypes = [pointer]
    return library
