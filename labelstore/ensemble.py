"""Several checkpoints as one teacher: the mean of their logits (the papers' ensembles).

In: views and epochs. Out: float32 logits and probabilities by sample index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import BadArgument
from .indices import Indices
from .softmax import softmax

if TYPE_CHECKING:
    from .view import LabelView


class Ensemble:
    """Made by `LabelStore.ensemble`. views: one for each expert; epochs: of each of them."""

    def __init__(self, views: Sequence[LabelView], epochs: Sequence[int]) -> None:
        if not views or not epochs:
            raise BadArgument(
                f"ensemble: expected at least one expert and one epoch, found {len(views)} experts "
                f"and {len(epochs)} epochs"
            )
        self.views = tuple(views)
        self.epochs = tuple(int(epoch) for epoch in epochs)

    def __repr__(self) -> str:
        return f"Ensemble({[view.expert for view in self.views]}, epochs {list(self.epochs)})"

    def read(self, indices: Indices) -> NDArray[np.float32]:
        """Mean logits: float32 (k, C), or (k, S, C) of views with S crops.

        Summed in float32 in the order of experts, then epochs. Raises as `LabelView.read` does.
        """
        members = [(view, epoch) for view in self.views for epoch in self.epochs]
        (view, epoch), *others = members
        total = view.read(epoch, indices).astype(np.float32)
        for view, epoch in others:
            total += view.read(epoch, indices)
        total /= np.float32(len(members))
        return total

    def probabilities(self, indices: Indices, *, temperature: float = 1.0) -> NDArray[np.float32]:
        """softmax(mean logits / temperature): float32, shaped as `read`."""
        return softmax(self.read(indices), temperature)
