"""How figures are made; and that the suites run, on tiny inputs."""

import json
from pathlib import Path
from typing import Any

import pytest

import benchmarks
from benchmarks.errors import DataMissing, UnknownSuite
from benchmarks.suite import figure, find_data, medians, share

ROW = {"name", "value", "unit", "peer", "peer_value", "ratio", "bar", "limit"}


def quiet(stage: str, done: int, total: int) -> None:
    assert 0 <= done <= total


def test_a_ratio_over_one_means_ahead() -> None:
    faster = figure("rate", 30.0, "images/s", peer="other", peer_value=20.0, bar=1.0)
    assert faster.keys() == ROW
    assert faster["ratio"] == 1.5
    sooner = figure("time", 2.0, "s", peer="other", peer_value=8.0, less_is_better=True)
    assert sooner["ratio"] == 4.0


def test_a_limit_has_no_peer() -> None:
    row = share("rate", 3.0, "images/s", limit=4.0)
    assert row.keys() == ROW
    assert (row["peer"], row["limit"], row["ratio"]) == (None, 4.0, 0.75)


def test_rounds_are_interleaved_and_the_first_is_not_counted() -> None:
    order: list[str] = []

    def contestant(name: str, values: list[float]) -> Any:
        def run() -> float:
            order.append(name)
            return values.pop(0)

        return run

    contestants = {
        "a": contestant("a", [99.0, 1.0, 5.0, 3.0]),
        "b": contestant("b", [0.0, 2.0, 2.0, 9.0]),
    }
    assert medians(contestants, rounds=3, stage="x", progress=quiet) == {"a": 3.0, "b": 2.0}
    assert order == ["a", "b", "b", "a", "a", "b", "b", "a"]


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(UnknownSuite, match="load, build") as caught:
        benchmarks.run_suite("speed")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("suite", ["load", "build", "labels"])
def test_without_the_images_a_suite_says_what_to_set(
    suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_DATA", str(tmp_path))
    with pytest.raises(DataMissing, match="ENGINE_DATA") as caught:
        benchmarks.run_suite(suite)
    assert caught.value.exit_code == 2


def test_data_are_found_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cifar100").mkdir()
    monkeypatch.setenv("ENGINE_DATA", str(tmp_path))
    assert find_data("cifar100") == tmp_path / "cifar100"


def test_the_machine_is_told_with_the_cores_that_a_quota_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmarks.suite.usable_cores", lambda: 3)
    assert benchmarks.suite.machine()["cores"] == 3


def check_result(result: dict[str, Any], names: set[str]) -> None:
    assert json.loads(json.dumps(result)) == result
    assert {"suite", "machine", "figures"} < result.keys()
    assert names <= {row["name"] for row in result["figures"]}
    for row in result["figures"]:
        assert row.keys() == ROW
        assert row["value"] > 0
        assert row["ratio"] > 0
        assert (row["peer"] is None) == (row["limit"] is not None)


@pytest.mark.long
@pytest.mark.parametrize(
    ("suite", "names"),
    [
        ("load", {"resident_cifar", "resident_cifar_vs_ffcv", "jpeg_rrc224",
                  "jpeg_rrc224_vs_torchvision"}),
        ("build", {"build_jpeg", "build_jpeg_vs_copy"}),
        ("labels", {"read_random_1000", "read_random_10000", "read_random_50000",
                    "read_unsorted_50000_vs_sorted_take", "read_random_1000_vs_zarr",
                    "read_random_1000_vs_tensorstore", "read_random_1000_vs_zarrs",
                    "read_random_1000_vs_h5py", "read_random_1000_vs_parquet",
                    "zarr_reads_ours_vs_own_best", "read_probabilities_1000",
                    "read_random_1000_quantised8", "read_random_1000_topk10",
                    "materialised_rows", "write", "imagenet_scale_write",
                    "imagenet_scale_writer_rss_anon", "imagenet_scale_read_50000",
                    "imagenet_scale_read_50000_cold", "dump_20_checkpoints"}),
    ],
)  # fmt: skip
def test_a_suite_runs_quickly_on_tiny_inputs(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, suite: str, names: set[str]
) -> None:
    import torch

    monkeypatch.setenv("ENGINE_DATA", str(shared_data))
    before = torch.get_num_threads()
    check_result(benchmarks.run_suite(suite, progress=quiet, quick=True), names)
    assert torch.get_num_threads() == before
