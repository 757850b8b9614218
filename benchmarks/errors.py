"""What can go wrong before a benchmark has measured anything.

BenchmarkError (exit code 2)
├── UnknownSuite    no suite of that name
├── DataMissing     the real images that the suite measures with are not on this machine
└── PeerMissing     a library to compare with is not installed
"""

from __future__ import annotations

__all__ = ["BenchmarkError", "DataMissing", "PeerMissing", "UnknownSuite"]


class BenchmarkError(Exception):
    """Root of this room's errors."""

    exit_code = 2


class UnknownSuite(BenchmarkError):
    """There is no suite of that name."""


class DataMissing(BenchmarkError):
    """The real images that the suite measures with are not on this machine."""


class PeerMissing(BenchmarkError):
    """A library to compare with is not installed."""
