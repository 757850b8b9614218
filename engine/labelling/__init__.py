"""Labelling: checkpoints × samples → soft labels in the store."""

from engine.labelling.check import check_labels
from engine.labelling.dump import dump_labels, expert_name
from engine.labelling.imports import import_labels

__all__ = ["check_labels", "dump_labels", "expert_name", "import_labels"]
