"""Memory for batches, used again once nobody can see it any more.

In: how many bytes. Out: a uint8 tensor. When the tensor and every view of it are gone (in Python or
in torch), the pages serve the next batch; while any is alive they are never touched. Fresh pages
would have to be zeroed by the kernel: about 4 % of the time of a batch of decoded images.
"""

from __future__ import annotations

import itertools
import weakref

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["BatchMemory"]


class BatchMemory:
    """Hands out tensors; keeps at most ``spare`` unused blocks."""

    def __init__(self, spare: int) -> None:
        self._spare = spare
        self._unused: list[npt.NDArray[np.uint8]] = []
        self._leases: dict[int, weakref.ref[npt.NDArray[np.uint8]]] = {}
        self._numbers = itertools.count()

    def take(self, num_bytes: int) -> torch.Tensor:
        """A uint8 tensor (num_bytes,) of undefined content that nothing else refers to."""
        block = self._unused.pop() if self._unused else np.empty(0, np.uint8)
        if block.size < num_bytes:
            block = np.empty(num_bytes, np.uint8)
        # The tensor's storage keeps this very array object alive, and with it its weak reference.
        lease = block[:num_bytes]
        number = next(self._numbers)

        def give_back(_: weakref.ref[npt.NDArray[np.uint8]]) -> None:
            del self._leases[number]
            if len(self._unused) < self._spare:
                self._unused.append(block)

        self._leases[number] = weakref.ref(lease, give_back)
        return torch.from_numpy(lease)
