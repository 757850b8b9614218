"""Folders told apart: sweeps, evaluations of distilled sets, learned labels, others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report_others import evaluation, learned
from report_synthetic_sweep import grid, write_sweep

from engine.errors import ArtefactError, MismatchError, UsageError
from engine.records import write_record
from engine.report import gathered, write_report
from engine.report.sources import Sources, read_others, sort_folders


def test_folders_are_told_apart_by_what_lies_in_them(tmp_path):
    sweep = write_sweep(tmp_path / "s", grid({(1, 5): 0.1}))
    write_record(tmp_path / "e" / "evaluation.json", {"kind": "evaluation"})
    write_record(tmp_path / "l" / "manifest.json", {"kind": "learned-labels"})
    found = sort_folders([tmp_path / "e", sweep, tmp_path / "l", sweep])
    assert found == Sources(
        sweeps=(sweep,), evaluations=(tmp_path / "e",), learned=(tmp_path / "l",)
    )


def test_other_artefacts_are_refused_by_their_kind(tmp_path):
    named = {
        "manifest.json": [("dataset", "a dataset"), ("expert-run", "an expert run")],
        "zarr.json": [("label-store", "a label store")],
    }
    for file, kinds in named.items():
        for kind, said in kinds:
            # Datasets and label stores have checksums of another make.
            (tmp_path / kind).mkdir()
            (tmp_path / kind / file).write_text(json.dumps({"attributes": {"kind": kind}}))
            with pytest.raises(UsageError, match=rf"learned labels at .*/{kind}, found {said}"):
                sort_folders([tmp_path / kind])
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(UsageError, match=r"learned labels at .*/page, found something else"):
        sort_folders([tmp_path / "page"])
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
    assert "The set “dm &lt;b&gt;” (IPC 1) reaches 12.5 ± 0.5 % here (max on test, n = 2)." in page
    assert "1 student missing" in page
    assert "most like those of d3-s0 at epoch 13 by rank correlation" in page
    assert {"tables/evaluated.tex", "tables/learned_labels_best_epoch.csv"} <= set(summary["files"])
    # Two students of the set against three of ours, no seeds in common: (0.115 − 0.152).
    text = (tmp_path / "r" / "tables" / "evaluated.csv").read_text()
    assert "-0.03" in text
