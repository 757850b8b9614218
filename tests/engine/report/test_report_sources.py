"""Folders told apart: sweeps, evaluations of distilled sets, learned labels, others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report_synthetic_sweep import grid, write_sweep

from engine.distilled.evaluation import Evaluation
from engine.errors import ArtefactError, MismatchError, UsageError
from engine.experiments.learned_labels.reading import Learned
from engine.records import write_record
from engine.report import gathered, write_report
from engine.report.sources import Sources, read_others, sort_folders


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


def test_folders_are_told_apart_by_what_lies_in_them(tmp_path):
    sweep = write_sweep(tmp_path / "s", grid({(1, 5): 0.1}))
    write_record(tmp_path / "e" / "evaluation.json", {"kind": "evaluation"})
    write_record(tmp_path / "l" / "manifest.json", {"kind": "learned-labels"})
    found = sort_folders([tmp_path / "e", sweep, tmp_path / "l", sweep])
    assert found == Sources(
        sweeps=(sweep,), evaluations=(tmp_path / "e",), learned=(tmp_path / "l",)
    )


def test_other_artefacts_are_refused_by_their_kind(tmp_path):
    write_record(tmp_path / "d" / "manifest.json", {"kind": "dataset"})
    with pytest.raises(UsageError, match=r"learned labels at .*/d, found dataset"):
        sort_folders([tmp_path / "d"])
    with pytest.raises(ArtefactError, match="expected a sweep"):
        write_report([tmp_path / "nothing"], tmp_path / "r")


def test_evaluations_alone_make_no_report(tmp_path):
    write_record(tmp_path / "e" / "evaluation.json", {"kind": "evaluation"})
    with pytest.raises(UsageError, match="at least one sweep"):
        sort_folders([tmp_path / "e"])


def test_results_on_another_dataset_are_refused(monkeypatch):
    import engine.distilled.evaluation as room

    monkeypatch.setattr(room, "read_evaluation", lambda _: evaluation(dataset_id="other"))
    with pytest.raises(MismatchError, match="found dataset other in evaluations/dm"):
        read_others(Sources(sweeps=(), evaluations=(Path("e"),), learned=()), "d" * 16)


def test_sets_made_elsewhere_and_learned_labels_have_their_sections(tmp_path, monkeypatch):
    sweep = write_sweep(
        tmp_path / "s", grid({(1, 5): 0.1, (1, 13): 0.15}), dataset={"name": "flowers"}
    )
    alone = write_report([sweep], tmp_path / "alone")
    monkeypatch.setattr(gathered, "read_others", lambda *_: ((evaluation(),), (learned(),)))
    summary = write_report([sweep], tmp_path / "r")
    assert set(summary["experiments"]) == {*alone["experiments"], "baseline", "learned-labels"}
    assert summary["id"] != alone["id"]
    page = (tmp_path / "r" / "index.html").read_text()
    assert "The set “dm &lt;b&gt;” (IPC 1) reaches 12.5 ± 0.5 % here (n = 2)." in page
    assert "1 student missing" in page
    assert "most like those of d3-s0 at epoch 13 by rank correlation" in page
    assert {"tables/evaluated.tex", "tables/learned_labels_best_epoch.csv"} <= set(summary["files"])
    # Two students of the set against three of ours, no seeds in common: (0.115 − 0.152).
    text = (tmp_path / "r" / "tables" / "evaluated.csv").read_text()
    assert "-0.03" in text
