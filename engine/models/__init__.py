"""Networks by name: the papers' ConvNet family and everything timm has.

Names are resolved on first use: who needs no tensors waits for no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.models.convnet import ConvNet
    from engine.models.factory import build_model
    from engine.models.names import check_model_name

_HOMES = {
    "ConvNet": "convnet",
    "build_model": "factory",
    "check_model_name": "names",
}

__all__ = [
    "ConvNet",
    "build_model",
    "check_model_name",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
