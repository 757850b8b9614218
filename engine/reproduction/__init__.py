"""Every experiment of both papers on any built dataset, end to end: `engine reproduce`.

A scale (`engine/presets/reproduce/*.yaml`) says which experiments, how many experts, how long the
students; `plan` fits it to a dataset and says what it had to leave out; `run` goes through the
stages, each of which resumes.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "reproduce": "engine.reproduction.run",
    "scale_names": "engine.reproduction.scale",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
