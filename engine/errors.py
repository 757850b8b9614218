"""What can go wrong in the engine, as one tree.

    EngineError                      exit code 2 unless said otherwise
    ├── UsageError                   an argument or a configuration that can't work
    │   └── ConfigurationError       an unknown or invalid key in a recipe, grid or --set
    ├── ArtefactError                a folder that is missing, unfinished or of another kind
    │   ├── MismatchError            artefacts that don't belong together; names both ids
    │   └── DamageError              stored bytes differ from what was recorded (exit code 1)
    ├── RankError                    a rank of a multi-process run died
    └── TrainingDiverged             the loss became NaN or infinite

A message says what was expected, what was found and where, and the next command to type.
"""

from __future__ import annotations

from typing import ClassVar


class EngineError(Exception):
    """Root of everything the engine raises on purpose."""

    exit_code: ClassVar[int] = 2


class UsageError(EngineError):
    """An argument that can't work."""


class ConfigurationError(UsageError):
    """An unknown or invalid key in a recipe, a grid or a ``--set`` override."""


class ArtefactError(EngineError):
    """A folder that is missing, unfinished or of another kind than expected."""


class MismatchError(ArtefactError):
    """Artefacts that don't belong together, such as labels of another dataset."""


class DamageError(ArtefactError):
    """Stored bytes differ from what was recorded when they were written."""

    exit_code: ClassVar[int] = 1


class RankError(EngineError):
    """A rank of a multi-process run died or never started."""


class TrainingDiverged(EngineError):
    """The loss became NaN or infinite."""
