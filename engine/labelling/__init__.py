"""Labelling: checkpoints × samples → soft labels in the store."""

from engine.labelling.dump import dump_labels, expert_name

__all__ = ["dump_labels", "expert_name"]
