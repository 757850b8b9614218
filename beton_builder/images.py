"""One encoded image in, what is stored of it out.

JPEG and PNG of any size and colour model come in; what goes out is RGB, as
- the original JPEG bytes, where nothing has to change (image_mode "auto" or "jpeg"),
- raw pixels (h, w, 3) uint8, or
- a new JPEG (a JPEG that had to be resized or converted from CMYK; anything under "jpeg").

Conversions: greyscale is repeated into three planes and flagged; palettes are looked up; alpha is
dropped, as torchvision's loader does; 16 bits per channel keep the high byte; CMYK goes through
Pillow. `max_resolution` means what it means in stock FFCV: an image whose longer side exceeds it is
scaled so that the longer side equals it, sizes truncated; never enlarged. The filter is Pillow's
Hamming window, the closest of its filters to the area interpolation of stock FFCV (mean difference
0.7 of 255 levels) without needing OpenCV. EXIF orientation is not applied.
"""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from beton_builder import jpeg
from beton_builder.beton_format import MAX_SIDE, MODE_JPEG, MODE_RAW
from beton_builder.jpeg import ImageProblem

IMAGE_MODES = ("auto", "raw", "jpeg")
JPEG_CHECKS = ("decode", "markers")
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_COLOUR_TYPE = 25  # its place in the header


@dataclass(frozen=True, kw_only=True)
class StorageRules:
    """How images are stored; part of the build's options.

    max_resolution: the longest side in pixels, None for no limit. jpeg_quality: of re-encoded ones.
    """

    image_mode: str = "auto"
    max_resolution: int | None = None
    jpeg_quality: int = 90
    jpeg_check: str = "decode"

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """The stored (height, width) of an image; the arithmetic is stock FFCV's."""
        if self.max_resolution is None or max(height, width) <= self.max_resolution:
            return height, width
        ratio = self.max_resolution / np.float64(max(height, width))
        return max(1, int(ratio * height)), max(1, int(ratio * width))


@dataclass(frozen=True, slots=True)
class StoredImage:
    """payload: the bytes in the file. pixels: (h, w, 3) uint8 if they were at hand, else None."""

    payload: bytes | memoryview
    mode: int
    height: int
    width: int
    grey: bool
    pixels: npt.NDArray[np.uint8] | None

    def decoded(self) -> npt.NDArray[np.uint8]:
        """The stored pixels, (h, w, 3) uint8; a JPEG is decoded as a reader will decode it."""
        if self.pixels is not None:
            return self.pixels
        return jpeg.decode_any(bytes(self.payload))


def is_greyscale(data: bytes) -> bool:
    """Whether an encoded image has no colours, by its header. Raises ImageProblem."""
    if data[:3] == JPEG_MAGIC:
        return jpeg.read_header(data).components == 1
    if data[:8] == PNG_MAGIC and len(data) > _PNG_COLOUR_TYPE:
        return data[_PNG_COLOUR_TYPE] in (0, 4)
    raise ImageProblem("is neither JPEG nor PNG")


def store(data: bytes, rules: StorageRules, *, with_pixels: bool = False) -> StoredImage:
    """Decide and produce what is stored of one encoded image.

    with_pixels: its pixels are wanted too, so a JPEG that is copied is decoded instead of checked.
    Raises ImageProblem when it is neither JPEG nor PNG, is damaged or cannot be converted.
    """
    if data[:3] == JPEG_MAGIC:
        header = jpeg.read_header(data)
        size = (header.height, header.width)
        grey = header.components == 1
        if rules.image_mode != "raw" and header.components != 4 and rules.resized(*size) == size:
            pixels = jpeg.decode(data, header) if with_pixels else None
            if pixels is None:
                jpeg.check_whole(data, header, rules.jpeg_check)
            return StoredImage(data, MODE_JPEG, *size, grey, pixels)
        return store_pixels(jpeg.decode(data, header), rules, grey=grey, was_jpeg=True)
    if data[:8] == PNG_MAGIC:
        check_png(data)
        pixels, grey = decode_png(data)
        return store_pixels(pixels, rules, grey=grey)
    if not data:
        raise ImageProblem("is an empty file")
    raise ImageProblem(f"is neither JPEG nor PNG: it begins with {data[:8]!r}")


def store_pixels(
    pixels: npt.NDArray[np.uint8], rules: StorageRules, *, grey: bool, was_jpeg: bool = False
) -> StoredImage:
    """Resize and encode decoded pixels (h, w, 3) uint8 as the rules say."""
    size = rules.resized(*pixels.shape[:2])
    if size != pixels.shape[:2]:
        pixels = resize(pixels, size)
    if max(size) > MAX_SIDE:
        raise ImageProblem(f"has a side of {max(size)} pixels; at most {MAX_SIDE} can be stored")
    if rules.image_mode == "jpeg" or (rules.image_mode == "auto" and was_jpeg):
        payload: bytes | memoryview = encode_jpeg(pixels, rules.jpeg_quality, grey=grey)
        return StoredImage(payload, MODE_JPEG, *size, grey, None)
    payload = np.ascontiguousarray(pixels).data.cast("B")
    return StoredImage(payload, MODE_RAW, *size, grey, pixels)


def resize(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Pixels (h, w, 3) scaled to size (height, width) with antialiasing."""
    scaled = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.HAMMING)
    return np.asarray(scaled)


def encode_jpeg(pixels: npt.NDArray[np.uint8], quality: int, *, grey: bool) -> bytes:
    """A baseline JPEG; a grey image gets one component, which decodes to three equal planes."""
    target = BytesIO()
    Image.fromarray(pixels[..., 0] if grey else pixels).save(target, "JPEG", quality=quality)
    return target.getvalue()


def check_png(data: bytes) -> None:
    """Raise ImageProblem unless every chunk is there, in one piece and with a right CRC."""
    position = len(PNG_MAGIC)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            name = kind.decode("ascii", "replace")
            raise ImageProblem(f"is a damaged PNG: wrong checksum of its {name} chunk")
        if kind == b"IEND":
            return
        position = end + 4
    raise ImageProblem(f"is a truncated PNG: it ends at byte {len(data)} without an IEND chunk")


def decode_png(data: bytes) -> tuple[npt.NDArray[np.uint8], bool]:
    """Pixels (h, w, 3) uint8 RGB and whether the image is greyscale; first frame of an animation.

    Raises ImageProblem when Pillow cannot decode it completely.
    """
    try:
        with Image.open(BytesIO(data), formats=("PNG",)) as image:
            grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I")
            if image.mode == "RGB":
                rgb: Image.Image = image
                rgb.load()
            elif image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips
                rgb = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
            elif image.mode == "P":  # through RGBA: a palette with transparency warns otherwise
                rgb = image.convert("RGBA").convert("RGB")
            else:
                rgb = image.convert("RGB")
            shape = (rgb.height, rgb.width, 3)
            return np.frombuffer(rgb.tobytes(), np.uint8).reshape(shape), grey
    except Exception as error:  # Pillow raises whatever the broken bytes lead to
        raise ImageProblem(f"is a PNG that does not decode: {error}") from error
