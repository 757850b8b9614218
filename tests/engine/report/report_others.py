"""What a report takes besides sweeps, for its tests: an evaluation and learned labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.distilled.evaluation import Evaluation
from engine.experiments.learned_labels.reading import Learned


def evaluation(**changes):
    return Evaluation(
        **{
            "name": "dm <b>",
            "id": "a" * 16,
            "dataset_id": "d" * 16,
            "dataset_name": "cifar100",
            "distilled_id": "f" * 16,
            "num_images": 100,
            "num_classes": 100,
            "ipc": 1,
            "labels": "hard",
            "label_kind": "class",
            "images": "float32",
            "student": {"epochs": 3000},
            "precision": "fp32",
            "accuracies": {
                "final": (0.11, 0.12),
                "selected": (0.11, 0.12),
                "max_on_test": (0.12, 0.13),
            },
            "validation": {},
            "seeds": (0, 1),
            "missing": 1,
            "findings": (),
            "path": Path("evaluations/dm"),
            **changes,
        }
    )


def learned(**changes):
    table = [
        {
            "epoch": epoch,
            "rank_correlation": 0.5 - 0.01 * abs(epoch - 13),
            "kl_expert_learned": 0.1,
            "kl_learned_expert": None,
            "similarity_cosine": 0.9,
            "expert_entropy": 3.0,
            "learned_entropy": 2.5,
            "intervals": {},
        }
        for epoch in (4, 13, 41)
    ]
    best = [
        {"measure": "rank_correlation", "epoch": 13, "low": 4, "high": 13, "share": 0.8},
        {"measure": "kl_learned_expert", "epoch": None, "low": None, "high": None, "share": None},
    ]
    logits = np.zeros((2, 100), np.float32)
    return Learned(
        **{
            "path": Path("learned/ipc1"),
            "id": "1" * 16,
            "manifest": {
                "dataset": {"id": "d" * 16},
                "recipe": {"ipc": 1},
                "knowledge_free": True,
                "knowledge": "none",
            },
            "ids": np.arange(2),
            "labels": np.arange(2),
            "logits_nk": logits,
            "initial_logits_nk": logits,
            "step": 2,
            "history": (
                {"step": 0, "outer_loss": 4.6, "validation_accuracy": 0.01},
                {"step": 1, "outer_loss": 4.2},
                {"step": 2, "outer_loss": 4.0, "validation_accuracy": 0.05},
            ),
            "comparisons": ({"expert": "d3-s0", "table": table, "best": best},),
            **changes,
        }
    )
