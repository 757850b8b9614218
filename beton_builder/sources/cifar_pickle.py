"""Reads the pickles of the CIFAR "python version" without running anything they contain.

A pickle can name any function and have it called. Those of CIFAR need five names to rebuild dicts,
byte strings and uint8 arrays; every other name is refused before it is imported.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from beton_builder.errors import DamagedSource

_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR file needs")
        if name == "_reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        return super().find_class(module, name)


def read_cifar_pickle(path: Path) -> dict[str, Any]:
    """The dict in a CIFAR batch or meta file, its keys as str.

    Raises DamagedSource when the file is not such a pickle, is cut off or asks for other classes.
    """
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="bytes").load()
    except OSError as error:
        raise DamagedSource(f"{path} cannot be read: {error.strerror}", path.name) from error
    except Exception as error:  # broken pickles raise whatever their opcodes lead to
        raise DamagedSource(
            f"{path} is not a readable CIFAR pickle: {error or type(error).__name__}", path.name
        ) from error
    if not isinstance(content, dict):
        raise DamagedSource(
            f"{path} holds a {type(content).__name__}, expected the dict of a CIFAR batch",
            path.name,
        )
    return {_text(key): value for key, value in content.items()}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def names_in(path: Path, key: str) -> tuple[str, ...]:
    """The list of class names under `key` of a meta file. Raises DamagedSource."""
    names = read_cifar_pickle(path).get(key)
    if not isinstance(names, list) or not names:
        raise DamagedSource(f"{path} lists no {key}", path.name)
    return tuple(_text(name) for name in names)
