"""Distilled sets: small training sets of images and labels, ours for others and others' for us.

    export_distilled    dataset + label store  →  a folder of parquet, tar or npz with a card
    open_distilled      that folder, or what DM, MTT, Ra-BPTT, SRe2L, … saved  →  images and targets
    evaluate_distilled  a distilled set  →  students under the protocol of sweeps, three accuracies

Reading goes: `opening` → `found` (which arrays a file has) → `pixels`, `encoded_images` and
`label_kinds` (what they mean). Nothing is unpickled beyond plain tensors, and what had to be
guessed is said and recorded.

Names are resolved on first use, so that importing the room imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.distilled.artefact import distilled_info, verify_distilled
    from engine.distilled.distilled_set import DistilledSet
    from engine.distilled.evaluate import evaluate_distilled
    from engine.distilled.evaluation import (
        Evaluation,
        evaluation_info,
        read_evaluation,
        verify_evaluation,
    )
    from engine.distilled.export import export_distilled
    from engine.distilled.opening import open_distilled

_HOMES = {
    "DistilledSet": "distilled_set",
    "Evaluation": "evaluation",
    "distilled_info": "artefact",
    "evaluate_distilled": "evaluate",
    "evaluation_info": "evaluation",
    "export_distilled": "export",
    "open_distilled": "opening",
    "read_evaluation": "evaluation",
    "verify_distilled": "artefact",
    "verify_evaluation": "evaluation",
}

__all__ = [
    "DistilledSet",
    "Evaluation",
    "distilled_info",
    "evaluate_distilled",
    "evaluation_info",
    "export_distilled",
    "open_distilled",
    "read_evaluation",
    "verify_distilled",
    "verify_evaluation",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
