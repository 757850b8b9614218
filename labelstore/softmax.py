"""Stored logits to probabilities: what every student's targets are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import BadArgument


def softmax(logits: NDArray[np.float16 | np.float32], temperature: float) -> NDArray[np.float32]:
    """softmax(logits / temperature) over the last axis: float32, same shape, computed in float32.

    Raises BadArgument unless temperature is a finite number > 0.
    """
    _check(temperature)
    if logits.dtype == np.float16:
        from . import kernels

        rows = np.ascontiguousarray(logits).reshape(-1, logits.shape[-1])
        probabilities = np.empty(rows.shape, np.float32)
        if rows.size:
            kernels.softmax_rows(rows.view(np.uint16), np.float32(temperature), probabilities)
        return probabilities.reshape(logits.shape)
    probabilities = logits.astype(np.float32)
    if probabilities.size == 0:
        return probabilities
    # The maximum goes first: dividing by a small temperature must not overflow.
    probabilities -= probabilities.max(axis=-1, keepdims=True)
    probabilities /= np.float32(temperature)
    np.exp(probabilities, out=probabilities)
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    return probabilities


def softmax_of_places(
    source_nc: NDArray[np.float16], places_k: NDArray[np.int64], temperature: float
) -> NDArray[np.float32]:
    """softmax(source_nc[places_k] / temperature), float32 (k, C), without a copy of the rows.

    places_k: int64 (k,) places within `source_nc`, a float16 array (n, C) in C order.
    """
    from . import kernels

    _check(temperature)
    probabilities = np.empty((len(places_k), source_nc.shape[1]), np.float32)
    kernels.gather_softmax(
        source_nc.view(np.uint16), places_k, np.float32(temperature), probabilities
    )
    return probabilities


def _check(temperature: float) -> None:
    if not (np.isfinite(temperature) and temperature > 0):
        raise BadArgument(f"temperature: expected a finite number > 0, found {temperature}")
