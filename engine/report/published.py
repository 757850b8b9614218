"""Which published numbers a dataset is set beside: it is recognised by its name or its classes."""

from __future__ import annotations

from collections.abc import Sequence

from engine.analysis.published import Published, read_published

__all__ = ["Published", "published_of"]

_CLASSES = {"imagenet": 1000, "tinyimagenet": 200, "cifar10": 10, "cifar100": 100}
_TELLING_CLASSES = {
    "cifar10": frozenset({"airplane", "automobile", "frog", "truck"}),
    "cifar100": frozenset({"aquarium_fish", "lawn_mower", "pickup_truck", "sweet_pepper"}),
}
"""Classes that tell a dataset under another name."""


def published_of(name: str, classes: Sequence[str], num_classes: int | None) -> Published | None:
    """The numbers published for a dataset; None where nobody published anything about it."""
    key = _key(name, classes, num_classes)
    return None if key is None else read_published()[key]


def _key(name: str, classes: Sequence[str], num_classes: int | None) -> str | None:
    plain = "".join(sign for sign in name.lower() if sign.isalnum())
    for key, count in _CLASSES.items():
        named = plain == key or (key == "imagenet" and plain in ("imagenet1k", "ilsvrc2012"))
        telling = _TELLING_CLASSES.get(key)
        told = telling is not None and telling <= set(classes)
        if (named or told) and num_classes in (None, count):
            return key
    return None
