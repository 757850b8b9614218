"""Augmentation of batches, driven by counter-based random numbers."""

from engine.augment.dsa import OPERATIONS, apply_operation, draw_operations, draw_parameters
from engine.augment.philox import philox_uniform, stream_key

__all__ = [
    "OPERATIONS",
    "apply_operation",
    "draw_operations",
    "draw_parameters",
    "philox_uniform",
    "stream_key",
]
