"""Soft labels beside the batches of an FFCV loader, in the loader's own order.

In: a `ffcv.loader.Loader` and a view. Out: batches (*FFCV's tensors, soft labels, sample indices).
The order of an epoch is taken from FFCV's own iterator, so sequential, random and quasi-random
order, subsets (`indices=`) and both settings of `drop_last` need no code of their own. FFCV reuses
the memory of its batches after some more of them; labels and indices are fresh tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadArgument
from .indices import Indices
from .soft_targets import SoftTargets, sample_ids_of


class SoftLabelLoader:
    """Made by `with_soft_labels` of an FFCV loader; iterate over it once for every epoch.

    A batch is what FFCV yields, then float32 (b, C) soft labels, then int64 (b,) sample indices: b
    is the batch size, less for the last batch without `drop_last`. Labels are on the device of
    FFCV's first tensor. loader: the loader inside, whose other attributes are found here too.
    """

    loader: Any
    sample_ids: NDArray[np.int64]

    def __init__(
        self,
        loader: Any,
        targets: SoftTargets,
        *,
        indices: Indices | None,
        label: int | str | None,
        check: int,
    ) -> None:
        sample_ids = sample_ids_of(range(loader.reader.num_samples), targets.view, indices)
        targets.read(sample_ids[np.asarray(loader.indices[:1], np.int64)])
        vars(self).update(
            loader=loader,
            sample_ids=sample_ids,
            _targets=targets,
            _guard=targets.guard(check),
            _label_position=_position_of(label, loader),
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        import torch

        batches = iter(self.loader)
        order = np.asarray(batches.order, np.int64)
        done = 0
        try:
            for batch in batches:
                rows = self.sample_ids[order[done : done + self.loader.batch_size]]
                done += len(rows)
                self._guard.check(rows, self._classes(batch))
                device = next((each.device for each in batch if torch.is_tensor(each)), "cpu")
                soft_labels = torch.from_numpy(self._targets.read(rows)).to(device)
                yield (*batch, soft_labels, torch.from_numpy(rows).to(device))
        finally:
            batches.terminate_event.set()  # left early, its thread would wait for ever

    def _classes(self, batch: Sequence[Any]) -> list[Any]:
        if self._label_position is None:
            return [None] * len(batch[0])
        return list(batch[self._label_position].reshape(len(batch[0]), -1)[:, 0].tolist())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "loader" not in vars(self):
            raise AttributeError(name)
        return getattr(self.loader, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self):
            raise AttributeError(
                f"{name}: fixed when the labels were joined; join others with with_soft_labels"
            )
        setattr(self.loader, name, value)


def _position_of(label: int | str | None, loader: Any) -> int | None:
    """Where in a batch the classes are: at the field called `label`, if there is one."""
    names = list(loader.pipeline_specs)
    if label is None:
        return names.index("label") if "label" in names else None
    if label not in names:
        raise BadArgument(f"label: expected a field of the loader, {names}, found {label!r}")
    return names.index(label)
