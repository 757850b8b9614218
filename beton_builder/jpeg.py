"""What this room must know of JPEG: size, wholeness, exact pixels.

A JPEG that needs no resize is copied byte for byte, so its bytes must be proven good here, once.
Two checks, chosen by `jpeg_check`:
- "decode" (default): libjpeg-turbo decodes every coefficient at 1/8 scale, luma only, and any
  warning counts as damage. Finds truncation, and corruption wherever libjpeg notices it (a flipped
  bit that still makes valid Huffman codes looks like an image to every decoder). Measured on 110 kB
  ImageNet files: 0.8 ms an image and core, two thirds of a full decode.
- "markers": walk the markers to the end-of-image marker. Finds truncation and formats that we
  cannot decode in 0.05 ms; the choice when the disk outruns the cores.

libjpeg-turbo comes through the TurboJPEG library that stock FFCV itself needs. Where it is absent,
Pillow decodes instead (equal pixels, tested); it notices truncation but not corruption.
EXIF orientation is not applied, as in torchvision's ImageFolder and FFCV: bytes stay as they are.
"""

import ctypes
import re
import threading
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt

MAX_PIXELS = 178_956_970  # Pillow's limit against decompression bombs
_START_OF_FRAME = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive: Huffman, lossy
_OTHER_FRAMES = set(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = {0x01, *range(0xD0, 0xD8)}
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_TJPF_RGB, _TJPF_GRAY = 0, 6


class ImageProblem(Exception):
    """Why one image cannot be stored; the caller adds the name of the sample."""


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """Height and width in pixels, number of colour components (1 grey, 3 colour, 4 CMYK)."""

    height: int
    width: int
    components: int
    scan_start: int


def read_header(data: bytes) -> JpegHeader:
    """Size and components from the start-of-frame marker, without decoding.

    Raises ImageProblem: not a JPEG, truncated, 12-bit, lossless or arithmetic coding, no size.
    """
    if data[:2] != b"\xff\xd8":
        raise ImageProblem("is not a JPEG: it does not begin with a start-of-image marker")
    position, frame = 2, None
    while True:
        marker, position = _next_marker(data, position)
        if marker in _STANDALONE:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        if marker == 0xD9 or (length < 2 <= len(data) - position):
            raise ImageProblem(f"is a broken JPEG: no image data before byte {position}")
        if position + max(length, 2) > len(data):
            raise ImageProblem(f"is a truncated JPEG: it ends at byte {len(data)} in its header")
        if marker in _OTHER_FRAMES:
            raise ImageProblem(
                f"is a JPEG of process SOF{marker - 0xC0} (lossless, hierarchical or arithmetic "
                "coding); convert it to baseline or progressive"
            )
        if marker in _START_OF_FRAME:
            frame = _read_frame(data[position + 2 : position + length])
        position += length
        if marker == 0xDA:
            if frame is None:
                raise ImageProblem("is a broken JPEG: scan data without a frame header")
            return JpegHeader(*frame, scan_start=position)


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    while position + 1 < len(data) and data[position] == 0xFF and data[position + 1] == 0xFF:
        position += 1
    if position + 2 > len(data):
        raise ImageProblem(f"is a truncated JPEG: it ends at byte {len(data)} in its header")
    if data[position] != 0xFF:
        raise ImageProblem(f"is a broken JPEG: no marker at byte {position}")
    return data[position + 1], position + 2


def _read_frame(segment: bytes) -> tuple[int, int, int]:
    if len(segment) < 6:
        raise ImageProblem("is a broken JPEG: its frame header is too short")
    precision, components = segment[0], segment[5]
    height = int.from_bytes(segment[1:3], "big")
    width = int.from_bytes(segment[3:5], "big")
    if precision != 8:
        raise ImageProblem(f"is a {precision}-bit JPEG; only 8 bits per channel can be stored")
    if not height or not width or height * width > MAX_PIXELS:
        raise ImageProblem(f"is a JPEG of unusable size {width}x{height} pixels")
    if components not in (1, 3, 4):
        raise ImageProblem(f"is a JPEG with {components} colour components (expected 1, 3 or 4)")
    return height, width, components


def check_whole(data: bytes, header: JpegHeader, check: str) -> None:
    """Raise ImageProblem unless the JPEG is whole; check: "decode" or "markers" (see above)."""
    if check == "decode" and TURBOJPEG is not None:
        _turbo_decode(TURBOJPEG, data, -(-header.height // 8), -(-header.width // 8), grey=True)
        return
    _walk_scans(data, header.scan_start)
    if check == "decode":
        _decode_with_pillow(data)


def _walk_scans(data: bytes, position: int) -> None:
    while True:
        found = _END_OF_SCAN.search(data, position)
        if found is None:
            raise ImageProblem(
                f"is a truncated JPEG: {len(data)} bytes without an end-of-image marker"
            )
        marker, position = data[found.start() + 1], found.end()
        if marker == 0xD9:
            return
        position += int.from_bytes(data[position : position + 2], "big")


def decode(data: bytes, header: JpegHeader) -> npt.NDArray[np.uint8]:
    """Full-size pixels, (height, width, 3) uint8 RGB; CMYK is converted.

    Raises ImageProblem when the JPEG does not decode completely.
    """
    if header.components != 4 and TURBOJPEG is not None:
        return _turbo_decode(TURBOJPEG, data, header.height, header.width, grey=False)
    _walk_scans(data, header.scan_start)
    return _decode_with_pillow(data)


def decode_any(data: bytes) -> npt.NDArray[np.uint8]:
    """Full-size pixels of a JPEG whose header has not been read yet; see `decode`."""
    return decode(data, read_header(data))


def _decode_with_pillow(data: bytes) -> npt.NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(BytesIO(data), formats=("JPEG",)) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow raises whatever the broken bytes lead to
        raise ImageProblem(f"is a JPEG that does not decode: {error}") from error


def _load_turbojpeg() -> ctypes.CDLL | None:
    for name in ("libturbojpeg.so.0", "libturbojpeg.so"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.tjInitDecompress.restype = ctypes.c_void_p
        library.tjDestroy.argtypes = [ctypes.c_void_p]
        library.tjGetErrorStr2.argtypes = [ctypes.c_void_p]
        library.tjGetErrorStr2.restype = ctypes.c_char_p
        library.tjDecompress2.argtypes = [
            ctypes.c_void_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_void_p,
            ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int,
        ]  # fmt: skip
        return library
    return None


TURBOJPEG = _load_turbojpeg()


class _Decompressor:
    """A TurboJPEG handle; handles must not be shared between threads."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        self.handle = library.tjInitDecompress()

    def __del__(self) -> None:
        self.library.tjDestroy(self.handle)


_OF_THREAD = threading.local()


def _turbo_decode(
    library: ctypes.CDLL, data: bytes, height: int, width: int, *, grey: bool
) -> npt.NDArray[np.uint8]:
    """Pixels at (height, width): the full size, or one eighth of it rounded up. Frees the GIL."""
    if not hasattr(_OF_THREAD, "decompressor"):
        _OF_THREAD.decompressor = _Decompressor(library)
    handle = _OF_THREAD.decompressor.handle
    pixels = np.empty((height, width) if grey else (height, width, 3), np.uint8)
    colours = _TJPF_GRAY if grey else _TJPF_RGB
    status = library.tjDecompress2(
        handle, data, len(data), pixels.ctypes.data, width, 0, height, colours, 0
    )
    if status != 0:
        reason = library.tjGetErrorStr2(handle).decode("ascii", "replace")
        raise ImageProblem(f"is a JPEG that does not decode: {reason}")
    return pixels
