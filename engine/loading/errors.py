"""What can go wrong while images are loaded: a branch of the engine's tree.

EngineError
└── LoadingError           exit code 2 unless said otherwise
    ├── InvalidRequest     arguments that contradict each other or the dataset (a UsageError)
    ├── ResolutionNeeded   images of several sizes, and no output size given (a UsageError)
    ├── TierUnsuitable     the tier that was asked for cannot serve this view (a UsageError)
    ├── DecoderMissing     the JPEG library that was asked for is not on this machine
    └── DamagedImage       stored bytes that do not decode (a DamageError, exit code 1)

Every message says what was expected, what was found and where, and what to do next.
"""

from __future__ import annotations

from pathlib import Path

from engine.errors import DamageError, EngineError, UsageError

__all__ = [
    "DamagedImage",
    "DecoderMissing",
    "InvalidRequest",
    "LoadingError",
    "ResolutionNeeded",
    "TierUnsuitable",
]


class LoadingError(EngineError):
    """Root of what this room raises on purpose."""


class InvalidRequest(LoadingError, UsageError):
    """Arguments that contradict each other or the dataset."""


class ResolutionNeeded(LoadingError, UsageError):
    """Images of several sizes can only be batched at a given resolution."""


class TierUnsuitable(LoadingError, UsageError):
    """The tier that was asked for cannot serve this view."""


class DecoderMissing(LoadingError):
    """The JPEG library that was asked for is not on this machine."""


class DamagedImage(LoadingError, DamageError):
    """A stored image does not decode; ``sample_id``, ``path`` and ``reason`` say which and why."""

    def __init__(self, sample_id: int, path: Path, reason: str) -> None:
        super().__init__(
            f"sample {sample_id} of {path} does not decode: {reason}. "
            f"Next: `engine verify {path.parent}` compares every sample with its checksum; "
            "if it finds damage, build the dataset again."
        )
        self.sample_id = sample_id
        self.path = path
        self.reason = reason
