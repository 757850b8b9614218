"""How a row of logits is stored: dense, quantised, or its largest entries.

In: float32 logits. Out: the rows of one array, and float16 logits again from such rows. A codec is
chosen by name when labels are written (`add_view(..., codec="topk:10")`); readers find it in the
store. Every codec but `dense` packs a row into bytes, so that reading k labels is one gather of k
short rows, whatever the code; the first two bytes of a row are a float16 that is never NaN, so that
the fill value (0xFF) tells a row that was never written.

A new codec is one class here: its name, its array, `encode` and `decode`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .arrays import ArrayLayout
from .errors import BadArgument

MAX_BITS = 16
MAX_TOPK_CLASSES = 1 << 16


class Codec(Protocol):
    """name: as users write it. folder: below the view's folder; None: the view's folder itself."""

    @property
    def name(self) -> str: ...

    @property
    def folder(self) -> str | None: ...

    def array(self, num_classes: int) -> ArrayLayout:
        """The array that holds the rows; BadArgument if so many classes cannot be stored."""

    def encode(self, logits_bc: NDArray[np.float32]) -> NDArray[Any]:
        """Rows (b, …) of that array from float32 logits (b, C) in C order, all finite."""

    def decode(self, rows_kr: NDArray[Any], num_classes: int) -> NDArray[np.float16]:
        """float16 logits (k, C) of rows (k, …)."""


@dataclass(frozen=True)
class Dense:
    """float16 logits: 2 bytes a class."""

    name: str = "dense"
    folder: None = None

    def array(self, num_classes: int) -> ArrayLayout:
        return ArrayLayout(
            name="logits",
            dtype="float16",
            row_shape=(num_classes,),
            row_axes=("class",),
            unit="1",
        )

    def encode(self, logits_bc: NDArray[np.float32]) -> NDArray[np.float16]:
        return logits_bc.astype(np.float16)

    def decode(self, rows_kr: NDArray[np.float16], num_classes: int) -> NDArray[np.float16]:
        return rows_kr


@dataclass(frozen=True)
class Quantised:
    """A row's logits on an even grid of 2^bits values between its smallest and its largest.

    Bytes: [smallest float16, rounded down][largest float16, rounded up][C codes of `bits` bits as a
    little-endian bit stream]; value = smallest + code · (largest − smallest) / (2^bits − 1).
    """

    bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MAX_BITS:
            raise BadArgument(
                f"codec quantised:{self.bits}: expected 1 to {MAX_BITS} bits, as in quantised:8"
            )

    @property
    def name(self) -> str:
        return f"quantised:{self.bits}"

    @property
    def folder(self) -> str:
        return f"quantised-{self.bits}"

    def array(self, num_classes: int) -> ArrayLayout:
        return _codes(4 + -(-num_classes * self.bits // 8))

    def encode(self, logits_bc: NDArray[np.float32]) -> NDArray[np.uint8]:
        from . import kernels  # compiled code, which readers of dense labels do without

        row_bytes = self.array(logits_bc.shape[1]).row_bytes
        codes_br = np.empty((len(logits_bc), row_bytes), np.uint8)
        kernels.encode_quantised(logits_bc, self.bits, codes_br)
        return codes_br

    def decode(self, rows_kr: NDArray[np.uint8], num_classes: int) -> NDArray[np.float16]:
        from . import kernels

        logits_kc = np.empty((len(rows_kr), num_classes), np.float16)
        kernels.decode_quantised(rows_kr, self.bits, num_classes, logits_kc.view(np.uint16))
        return logits_kc


@dataclass(frozen=True)
class TopK:
    """The k largest logits and their classes; what the others weigh together is spread evenly.

    Bytes: [k float16 logits, descending][float16 log-sum-exp of all other classes][k uint16
    classes]; a class outside has the logit log-sum-exp − log(C − k).
    """

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise BadArgument(f"codec topk:{self.k}: expected at least 1 class, as in topk:10")

    @property
    def name(self) -> str:
        return f"topk:{self.k}"

    @property
    def folder(self) -> str:
        return f"topk-{self.k}"

    def array(self, num_classes: int) -> ArrayLayout:
        if num_classes > MAX_TOPK_CLASSES:
            raise BadArgument(
                f"codec {self.name}: its uint16 class indices reach {MAX_TOPK_CLASSES:,} classes, "
                f"but there are {num_classes:,}; use --codec dense or quantised:8"
            )
        if self.k >= num_classes:
            raise BadArgument(
                f"codec {self.name}: expected fewer than the {num_classes} classes there are; "
                "use --codec dense to keep them all"
            )
        return _codes(4 * self.k + 2)

    def encode(self, logits_bc: NDArray[np.float32]) -> NDArray[np.uint8]:
        from . import kernels

        codes_br = np.empty((len(logits_bc), 4 * self.k + 2), np.uint8)
        kernels.encode_topk(logits_bc, self.k, codes_br)
        return codes_br

    def decode(self, rows_kr: NDArray[np.uint8], num_classes: int) -> NDArray[np.float16]:
        from . import kernels

        logits_kc = np.empty((len(rows_kr), num_classes), np.float16)
        kernels.decode_topk(rows_kr, self.k, num_classes, logits_kc.view(np.uint16))
        return logits_kc


DENSE = Dense()


def codec_named(name: str) -> Codec:
    """The codec that `name` means: dense, quantised:BITS or topk:K; BadArgument for another."""
    if name == DENSE.name:
        return DENSE
    family, _, number = name.partition(":")
    if number.isascii() and number.isdigit():
        if family == "quantised":
            return Quantised(int(number))
        if family == "topk":
            return TopK(int(number))
    raise BadArgument(
        f"codec {name!r}: expected dense, quantised:BITS (such as quantised:8) or topk:K (such as "
        "topk:10)"
    )


def bytes_per_sample(num_classes: int, codec: str = "dense", crops: int = 0) -> int:
    """Bytes on disk of one sample's labels at one epoch, with entropy, cross-entropy and boxes."""
    row = codec_named(codec).array(num_classes).row_bytes + 8
    return (row + 10) * crops if crops else row


def codec_in_folder(folder: str) -> Codec | None:
    """The codec whose rows a sub-folder of a view holds; None if it is no codec's."""
    try:
        return codec_named(folder.replace("-", ":", 1))
    except BadArgument:
        return None


def _codes(row_bytes: int) -> ArrayLayout:
    return ArrayLayout(
        name="codes", dtype="uint8", row_shape=(row_bytes,), row_axes=("byte",), unit="byte"
    )
