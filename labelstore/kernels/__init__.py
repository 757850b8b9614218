"""The label store's inner loops, compiled: float16 rows, statistics, lossy codes, softmax.

In and out: C-contiguous numpy arrays, one row of classes a sample; float16 travels as its bits
(uint16), since numba has no float16 on a CPU. Callers allocate what is filled, and check shapes,
labels and places: nothing here does. Each function works in one thread and without the GIL. A row's
results depend on nothing but the row, so blocks of any size give the same bytes.

Measured on a million logits, one thread of a shared 2-core machine with AVX-512, in ns a logit at
100 / 1,000 classes, beside numpy (float64 where a KL divergence is asked for):

    encode_dense         0.79 / 0.48     numpy 57 / 50; 10 / 8.6 without the errors
    statistics_only      0.51 / 0.32
    measure_errors       1.21 / 0.75     numpy 42 / 41
    encode_quantised     0.45 / 0.16     numpy 2.2 / 1.1     8 and 4 bits; other bits 2.1 / 1.9
    decode_quantised     0.16 / 0.12     numpy 3.1 / 2.9     8 and 4 bits; other bits 1.3 / 1.3
    encode_topk, k=10    2.57 / 0.69     numpy 17 / 19
    decode_topk, k=10    0.10 / 0.03     numpy 0.42 / 0.09
    softmax_rows         0.55 / 0.35     numpy 3.6 / 2.8
    gather_softmax       0.59 / 0.36     numpy 8.0 / 3.1     of rows in the cache

Rows with logits beyond ±128 cost `encode_dense` 1.4 / 1.3 ns. The first call ever compiles, 0.4 to
4 s a function; later processes load the code from disk in 2 to 13 ms a function, after half a
second that numba itself takes once.
"""

from __future__ import annotations

from pathlib import Path

from .compiling import forget_stale_code

forget_stale_code(Path(__file__).parent)

from .dense import encode_dense, statistics_only  # noqa: E402
from .divergence import measure_errors  # noqa: E402
from .quantised import decode_quantised, encode_quantised  # noqa: E402
from .softmax import gather_softmax, softmax_rows  # noqa: E402
from .topk import decode_topk, encode_topk  # noqa: E402

__all__ = [
    "decode_quantised",
    "decode_topk",
    "encode_dense",
    "encode_quantised",
    "encode_topk",
    "gather_softmax",
    "measure_errors",
    "softmax_rows",
    "statistics_only",
]
