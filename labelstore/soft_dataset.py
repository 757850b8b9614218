"""Soft labels in one's own training loop: a dataset or FFCV loader that also gives the label.

In: any map-style torch `Dataset` (torchvision's, timm's, Hugging Face's) or an FFCV `Loader`, and a
view. Out: the same with (image, soft label, sample index) items, made in three lines::

    view = labelstore.open_store("labels/cifar100.zarr").view()
    dataset = labelstore.with_soft_labels(CIFAR100("data", transform=...), view, epoch=13)
    for images, targets, indices in DataLoader(dataset, batch_size=256, num_workers=2): ...

torch is never imported here: what a dataset is shows by its methods. torch's fetcher asks for a
whole batch at once (`__getitems__`), so a batch's labels are one gather from the store. Workers may
be forked or spawned: the store is mapped again in each.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadArgument
from .indices import Indices
from .soft_targets import SoftTargets, sample_ids_of

if TYPE_CHECKING:
    from .soft_loader import SoftLabelLoader
    from .view import LabelView

IMAGE_KEYS = ("image", "img", "pixel_values")
LABEL_KEYS = ("label", "labels", "fine_label")


def with_soft_labels(
    dataset: Any,
    view: LabelView,
    epoch: int | Sequence[int],
    *,
    temperature: float = 1.0,
    indices: Indices | None = None,
    image: int | str | None = None,
    label: int | str | None = None,
    check: int = 256,
) -> SoftLabelDataset | SoftLabelLoader:
    """`dataset` with the soft labels of `view`: items (image, soft label, sample index).

    dataset: N images by position (`__len__` and `__getitem__`), whose items are (image, class, …)
    tuples or lists, mappings, or images alone; or an FFCV `Loader`, see `SoftLabelLoader`.
    epoch: whose labels; of a sequence, the mean of the logits (an ensemble).
    temperature: the soft label is softmax(logits / temperature), float32 (C,).
    indices: (N,), the store's row of every position. By default position i is row i; a torch
    `Subset`, also of a subset, is looked through to the positions that it was taken from.
    image, label: where an item has its image and its class: positions in a tuple (0 and 1 by
    default), keys of a mapping (image, img or pixel_values, and label, labels or fine_label).
    For an FFCV loader, `label` is the name of a field.
    timm's `create_loader` takes the result with use_prefetcher=False.
    check: the first images of every worker whose class is compared with what the store recorded of
    theirs, see `row_guard`; 0 for none. Items without a class are not compared.
    Raises BadArgument, BadIndices, WrongDataset if the number of images is not that of the store,
    EpochNotDumped; later, while items are read, WrongDataset naming the image and both values.
    """
    targets = SoftTargets(view, epoch, temperature)
    if all(hasattr(dataset, each) for each in ("traversal_order", "next_epoch", "batch_size")):
        from .soft_loader import SoftLabelLoader

        return SoftLabelLoader(dataset, targets, indices=indices, label=label, check=check)
    return SoftLabelDataset(
        dataset, targets, indices=indices, image=image, label=label, check=check
    )


class SoftLabelDataset:
    """Made by `with_soft_labels`: `len(dataset)` items (image, soft label, sample index).

    dataset: the dataset inside. sample_ids: int64 (len,), the store's row of every position.
    Other attributes are those of the dataset inside, for reading and for setting, so that what
    sets `dataset.transform` (timm's `create_loader`, say) reaches it.
    """

    dataset: Any
    sample_ids: NDArray[np.int64]

    def __init__(
        self,
        dataset: Any,
        targets: SoftTargets,
        *,
        indices: Indices | None,
        image: int | str | None,
        label: int | str | None,
        check: int,
    ) -> None:
        if not (hasattr(type(dataset), "__getitem__") and hasattr(type(dataset), "__len__")):
            raise BadArgument(
                f"expected a dataset with __len__ and __getitem__, or an FFCV Loader, found "
                f"{type(dataset).__name__}; of a DataLoader, wrap the dataset that it loads"
            )
        sample_ids = sample_ids_of(dataset, targets.view, indices)
        targets.read(sample_ids[:1])  # labels that are not there are missed before training
        vars(self).update(
            dataset=dataset,
            sample_ids=sample_ids,
            _targets=targets,
            _guard=targets.guard(check),
            _image=image,
            _label=label,
        )

    def __repr__(self) -> str:
        return f"SoftLabelDataset({self.dataset!r}, {self._targets.view!r})"

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> tuple[Any, NDArray[np.float32], int]:
        """(image, soft label float32 (C,), sample index)."""
        return self.__getitems__([operator.index(position)])[0]

    def __getitems__(self, positions: Sequence[int]) -> list[tuple[Any, NDArray[np.float32], int]]:
        """The items of a batch; their labels are read at once."""
        rows = self.sample_ids[np.asarray(positions, np.int64)]
        parts = [self._parts(item) for item in _items(self.dataset, positions)]
        self._guard.check(rows, [label for _, label in parts])
        targets = self._targets.read(rows)
        return [
            (image, target, row)
            for (image, _), target, row in zip(parts, targets, rows.tolist(), strict=True)
        ]

    def _parts(self, item: Any) -> tuple[Any, Any]:
        """Image and class of an item; None where it has no class."""
        image, label = self._image, self._label
        if isinstance(item, (tuple, list)):
            if label is None and image in (None, 0) and len(item) > 1:
                label = 1
            image = 0 if image is None else image
        elif isinstance(item, Mapping):
            image = _key(item, image, IMAGE_KEYS, "image")
            if label is not None or any(key in item for key in LABEL_KEYS):
                label = _key(item, label, LABEL_KEYS, "label")
        else:
            return item, None
        return item[image], None if label is None else item[label]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "dataset" not in vars(self):  # while it is being unpickled
            raise AttributeError(name)
        return getattr(_owner_of(self.dataset, name), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self):
            raise AttributeError(
                f"{name}: fixed when the labels were joined; join others with with_soft_labels"
            )
        setattr(_owner_of(self.dataset, name), name, value)


def _items(dataset: Any, positions: Sequence[int]) -> Sequence[Any]:
    together = getattr(dataset, "__getitems__", None)
    if callable(together):
        items: Sequence[Any] = together(list(positions))
        return items
    return [dataset[position] for position in positions]


def _key(item: Mapping[Any, Any], given: Any, known: tuple[str, ...], what: str) -> Any:
    """The key of an item's `what`: the one given, or the only one of the `known` that it has."""
    found = [key for key in (known if given is None else (given,)) if key in item]
    if len(found) == 1:
        return found[0]
    wanted = f"one of {', '.join(known)}" if given is None else repr(given)
    raise BadArgument(
        f"{what}: expected {wanted} among the keys of an item, found {', '.join(map(str, item))}; "
        f"say which it is with {what}=KEY"
    )


def _owner_of(dataset: Any, name: str) -> Any:
    """The dataset that has attribute `name`: this one, or one inside it; else this one."""
    owner = dataset
    while not hasattr(owner, name) and hasattr(owner, "dataset"):
        owner = owner.dataset
    return owner if hasattr(owner, name) else dataset
