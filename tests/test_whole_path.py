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
    assert not [cell for cell in cells if re.match(r"(nan|none)\b", cell.strip(), re.IGNORECASE)]
    for verified in (
        beton_builder.verify_dataset(data),
        engine.verify_run(run),
        labelstore.verify_store(store),
        engine.verify_sweep(sweep),
        engine.verify_report(report),
    ):
        assert verified["ok"], verified


@pytest.mark.long
def test_the_demo_ends_in_a_table_and_resumes_in_seconds(
    fashion_mnist_source: Path, tmp_path: Path
) -> None:
    first = engine.run_demo(tmp_path / "demo", source=fashion_mnist_source)
    assert [row["IPC"] for row in first["table"]] == ["1", "10", "50"]
    assert first["failed"] == 0
    accuracies = [float(row["final soft"].split()[0]) for row in first["table"]]
    assert accuracies == sorted(accuracies)
    assert accuracies[-1] > 70
    assert sum(first["seconds"].values()) < 600
    page = (tmp_path / "demo" / "report" / "index.html").read_bytes()
    again = engine.run_demo(tmp_path / "demo", source=fashion_mnist_source)
    assert sum(again["seconds"].values()) < 20
    assert again["table"] == first["table"]
    assert (tmp_path / "demo" / "report" / "index.html").read_bytes() == page
