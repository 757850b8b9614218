"""The same students on one worker, on several, and on a Ray cluster whose nodes come and go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.records import read_record
from tests.engine.sweep.ray_cases import two_nodes

pytestmark = pytest.mark.long

STUDENT = {
    "student.model": "convnet-d2-w8",
    "student.epochs": "40",
    "student.evaluations": "2",
    "student.batch_size": "4",
    "student.precision": "fp32",
}
GRID: dict[str, Any] = {"ipc": [1, 3], "expert_epochs": [1, 3], "seeds": [0, 1, 2]}


def sweep(data: Path, store: Path, out: Path, **options: Any) -> dict[str, Any]:
    return engine.sweep_students(data, store, out, overrides=STUDENT, **GRID, **options)


def results(out: Path) -> dict[str, Any]:
    records = [read_record(file) for file in out.glob("trials/*/*.json")]
    assert all(record["status"] == "done" for record in records)
    return {record["id"]: record["result"] for record in records}


@pytest.fixture(scope="module")
def by_one(
    small_data: Path, small_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Results of one worker of one thread."""
    out = tmp_path_factory.mktemp("one") / "sweep"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_EAGER", "1")
        assert sweep(small_data, small_store, out, workers=1, threads=1)["ran"] == 18
    return results(out)


def test_two_workers_find_what_one_finds(
    small_data: Path, small_store: Path, tmp_path: Path, by_one: dict[str, Any]
) -> None:
    events: list[dict[str, Any]] = []
    answer = sweep(
        small_data, small_store, tmp_path / "sweep", workers=2, threads=1, on_event=events.append
    )
    assert (answer["ran"], answer["failed"], answer["workers_lost"]) == (18, 0, 0)
    assert results(tmp_path / "sweep") == by_one
    started = [event for event in events if event["event"] == "worker_started"]
    assert {event["worker"] for event in started} == {0, 1}
    assert sum(answer["seconds_by_part"].values()) > 0
    assert answer["bottleneck"].startswith(max(answer["seconds_by_part"].items(), key=_second)[0])
    again = sweep(small_data, small_store, tmp_path / "sweep", workers=2, threads=1)
    assert again["status"] == "finished already"


def _second(pair: tuple[str, float]) -> float:
    return pair[1]


@pytest.fixture
def cluster() -> Iterator[Any]:
    with two_nodes() as nodes:
        yield nodes


def test_a_cluster_that_loses_a_node_and_gains_one_finds_the_same(
    cluster: Any, small_data: Path, small_store: Path, tmp_path: Path, by_one: dict[str, Any]
) -> None:
    doomed = cluster.list_all_nodes()[-1]
    ended: list[str] = []

    def change_nodes(event: dict[str, Any]) -> None:
        if event["event"] != "trial_finished":
            return
        ended.append(event["id"])
        if len(ended) == 4:
            cluster.remove_node(doomed, allow_graceful=False)
            cluster.add_node(num_cpus=1)

    answer = sweep(
        small_data,
        small_store,
        tmp_path / "sweep",
        executor="ray",
        ray_address=cluster.address,
        on_event=change_nodes,
    )
    assert (answer["ran"], answer["failed"]) == (18, 0)
    assert sorted(ended) == sorted(by_one)  # every trial exactly once
    assert results(tmp_path / "sweep") == by_one
