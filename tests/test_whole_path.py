"""From images to a report, on real data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import beton_builder
import engine
import labelstore


@pytest.mark.long
def test_the_imagenet_sample_goes_from_jpegs_to_a_report_with_empty_test_cells(
    shared_data: Path, tmp_path: Path
) -> None:
    data, run, store, sweep, report = (
        tmp_path / name for name in ("data", "run", "labels.zarr", "sweep", "report")
    )
    beton_builder.build_beton(shared_data / "imagenet-sample", data)
    assert beton_builder.open_dataset(data).num_classes == 300
    expert = engine.train_expert(
        data, run, model="resnet18", epochs=2, overrides={"resolution": 64, "lr": 0.01}
    )
    assert expert["test_accuracy"] is None
    engine.dump_labels(data, run, store)
    assert labelstore.open_store(store).view().read(2, range(300)).shape == (300, 300)
    swept = engine.sweep_students(
        data,
        store,
        sweep,
        ipc=[1],
        expert_epochs=[1, 2],
        seeds=[0],
        overrides={"student.model": "convnet-d4-w16", "student.epochs": 2},
    )
    assert (swept["trials"], swept["failed"]) == (3, 0)
    engine.write_report([sweep], report)
    page = (report / "index.html").read_text()
    assert "no test split" in page
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)
    assert "—" in cells
    assert not any(word in page.lower() for word in ("nan", ">none<"))
    for verified in (
        beton_builder.verify_dataset(data),
        engine.verify_run(run),
        labelstore.verify_store(store),
        engine.verify_sweep(sweep),
        engine.verify_report(report),
    ):
        assert verified["ok"], verified


@pytest.mark.long
def test_fashion_mnist_students_learn_more_from_soft_labels_than_from_hard_ones(
    fashion_mnist_source: Path, tmp_path: Path
) -> None:
    """The claim of the paper, at the smallest scale where it is plain to see."""
    data, run, store, sweep = (tmp_path / n for n in ("data", "run", "labels.zarr", "sweep"))
    beton_builder.build_beton(fashion_mnist_source, data)
    expert = engine.train_expert(data, run, model="convnet-d3-w16", epochs=2, lr=0.05)
    assert expert["test_accuracy"] > 0.6
    engine.dump_labels(data, run, store)
    swept = engine.sweep_students(
        data,
        store,
        sweep,
        ipc=[1],
        expert_epochs=[2],
        seeds=[0, 1, 2],
        overrides={
            "student.model": "convnet-d3-w16",
            "student.epochs": 150,
            "student.evaluations": 1,
        },
    )
    final = {row["labels"]: row["final"] for row in swept["table"]}
    assert final["soft"] > final["hard"] > 0.2
