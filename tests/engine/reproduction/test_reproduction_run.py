"""`engine reproduce` from images to verdicts, at the scale that shows that the path works."""

from __future__ import annotations

from pathlib import Path

import pytest

import beton_builder
import engine


@pytest.fixture(scope="module")
def reproduced(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageFolder of one's own, three classes, reproduced at the smallest scale."""
    out = tmp_path_factory.mktemp("reproduction") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_EAGER", "1")
        result = engine.reproduce(small_data, out, scale="smoke", workers=1)
    assert result["status"] == "done"
    assert result["failed"] == 0
    assert Path(result["report"]).is_file()
    assert len(result["table"]) > 10
    return out


def test_every_experiment_of_the_scale_was_run_but_what_the_dataset_does_not_allow(
    small_data: Path, reproduced: Path
) -> None:
    again = engine.reproduce(small_data, reproduced, scale="smoke", workers=1)
    left_out = " ".join(again["left_out"])
    assert "superclasses" in left_out
    assert left_out.count(":") >= 2
    tables = {file.stem for file in (reproduced / "report" / "tables").glob("*.csv")}
    assert tables >= {
        *("claims", "comparisons", "cutmix", "evaluated", "generated", "learned_labels"),
        *("learning_rate", "noise_lowest_entropy", "pareto", "selection", "shuffle_tail"),
        *("structure", "students", "swap_ith", "temperature", "top_k", "variance_split"),
        *("worth_in_images", "zero_shot"),
    }


def test_a_second_run_trains_nothing_and_leaves_the_same_bytes(
    small_data: Path, reproduced: Path
) -> None:
    def trained() -> dict[str, int]:
        files = [*reproduced.glob("students/trials/*/*.json"), *reproduced.glob("experts/*/*/*")]
        return {str(file): file.stat().st_mtime_ns for file in files}

    before, page = trained(), (reproduced / "report" / "index.html").read_bytes()
    assert len(before) > 30
    engine.reproduce(small_data, reproduced, scale="smoke", workers=1)
    assert trained() == before
    assert (reproduced / "report" / "index.html").read_bytes() == page


def test_all_of_it_passes_verification(reproduced: Path) -> None:
    assert engine.verify_sweep(reproduced / "students")["ok"]
    assert engine.verify_report(reproduced / "report")["ok"]
    for run in (reproduced / "experts").iterdir():
        assert engine.verify_run(run)["ok"]


def test_a_dry_run_says_what_is_left_out_and_touches_nothing(
    small_data: Path, tmp_path: Path
) -> None:
    plan = engine.reproduce(small_data, tmp_path / "out", scale="cpu", dry_run=True)
    assert not (tmp_path / "out").exists()
    assert plan["students"] > 50
    assert any("IPC 50" in reason for reason in plan["left_out"])
    assert "long" in plan["experiments"]


@pytest.mark.long
def test_fashion_mnist_goes_the_same_way(fashion_mnist_source: Path, tmp_path: Path) -> None:
    beton_builder.build_beton(fashion_mnist_source, tmp_path / "data")
    result = engine.reproduce(tmp_path / "data", tmp_path / "out", scale="smoke")
    assert result["failed"] == 0
    assert result["table"]
