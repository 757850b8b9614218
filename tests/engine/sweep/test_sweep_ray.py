"""Trials on a Ray cluster of several raylets on this machine: nothing lost, nothing done twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import RankError, UsageError
from engine.sweep.ray_cluster import run_on_ray
from tests.engine.sweep.ray_cases import CannotStart, FakeRunner, FakeTrial

pytestmark = pytest.mark.long
ray = pytest.importorskip("ray")


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each besides a head without any."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def run(cluster: Any, trials: list[FakeTrial], runner: Any, **options: Any) -> list[dict]:
    records: list[dict] = []
    run_on_ray(trials, runner, records.append, address=cluster.address, **options)
    return records


def test_every_trial_is_run_once_on_all_nodes(cluster: Any) -> None:
    trials = [FakeTrial(f"t{i}", shape=f"s{i % 3}", work=1 + i % 5) for i in range(60)]
    events: list[dict] = []
    records = run(cluster, trials, FakeRunner(0.01), on_event=events.append)
    expected = {trial.id: FakeRunner().run(trial, None) for trial in trials}
    assert {record["id"]: record for record in records} == expected
    assert len(records) == 60
    nodes = {event["node"] for event in events if event["event"] == "worker_started"}
    assert len(nodes) == 2
    assert [each["event"] for each in events].count("trial_finished") == 60
    assert events[-1]["event"] == "sweep_finished"


def test_a_node_is_killed_and_another_joins_and_every_trial_ends_exactly_once(
    cluster: Any, tmp_path: Path
) -> None:
    trials = [FakeTrial(f"t{i}") for i in range(240)]
    doomed = cluster.list_all_nodes()[-1]

    ended = iter(range(1, 1_000))

    def change_nodes(event: Any) -> None:
        if event["event"] == "trial_finished" and next(ended) == 20:
            cluster.remove_node(doomed, allow_graceful=False)
            cluster.add_node(num_cpus=1)

    runner = FakeRunner(0.2, str(tmp_path))
    records = run(cluster, trials, runner, on_event=change_nodes)
    assert sorted(record["id"] for record in records) == sorted(trial.id for trial in trials)
    assert all(record["status"] == "done" for record in records)
    processes = {line for mark in tmp_path.iterdir() for line in mark.read_text().split()}
    assert len(processes) >= 3  # two at first, and one on the node that joined


def test_a_trial_that_kills_its_actor_is_retried_then_recorded_and_the_rest_goes_on(
    cluster: Any, tmp_path: Path
) -> None:
    trials = [FakeTrial("die", work=2.0), *(FakeTrial(f"t{i}") for i in range(10))]
    records = run(cluster, trials, FakeRunner(0.01, str(tmp_path)), retries=1)
    by_id = {record["id"]: record for record in records}
    assert len(records) == 11
    assert by_id["die"]["status"] == "failed"
    assert len((tmp_path / "die").read_text().split()) == 2
    assert all(by_id[f"t{i}"]["status"] == "done" for i in range(10))


def test_an_exception_is_recorded_with_its_traceback_and_not_retried(
    cluster: Any, tmp_path: Path
) -> None:
    records = run(cluster, [FakeTrial("raise"), FakeTrial("t")], FakeRunner(0, str(tmp_path)))
    by_id = {record["id"]: record for record in records}
    assert "no student can learn raise" in by_id["raise"]["error"]
    assert len((tmp_path / "raise").read_text().split()) == 1
    assert by_id["t"]["status"] == "done"


def test_what_cannot_work_is_said_at_once(cluster: Any) -> None:
    with pytest.raises(RankError, match="no such dataset here"):
        run(cluster, [FakeTrial("t")], CannotStart())
    with pytest.raises(UsageError, match="no node with 8 CPUs"):
        run(cluster, [FakeTrial("t")], FakeRunner(), threads=8)
