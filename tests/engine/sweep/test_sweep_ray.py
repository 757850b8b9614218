"""Trials on a Ray cluster of several raylets on this machine: nothing lost, nothing done twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sweep_fakes
from sweep_process import is_running, wait_until

from engine.errors import RankError, UsageError
from engine.sweep.executors.ray_cluster import run_on_ray
from tests.engine.sweep.ray_cases import CannotStart, FakeRunner, FakeTrial, two_nodes

pytestmark = pytest.mark.long
ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as nodes:
        yield nodes


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


def test_a_trial_that_breaks_the_gpu_of_its_actor_is_tried_on_another(
    cluster: Any, tmp_path: Path
) -> None:
    unlucky = sweep_fakes.FakeTrial(id="unlucky", act="break the GPU once", work=2)
    trials = [unlucky, *sweep_fakes.fake_trials(5)]
    records = run(cluster, trials, sweep_fakes.MakeFakes(tmp_path))
    assert {record["status"] for record in records} == {"done"}
    assert len(list(tmp_path.glob("unlucky.*"))) == 2


def test_an_exception_is_recorded_with_its_traceback_and_not_retried(
    cluster: Any, tmp_path: Path
) -> None:
    records = run(cluster, [FakeTrial("raise"), FakeTrial("t")], FakeRunner(0, str(tmp_path)))
    by_id = {record["id"]: record for record in records}
    assert "no student can learn raise" in by_id["raise"]["error"]
    assert len((tmp_path / "raise").read_text().split()) == 1
    assert by_id["t"]["status"] == "done"


def test_a_long_trial_tells_of_its_progress(cluster: Any) -> None:
    events: list[dict] = []
    trials = sweep_fakes.fake_trials(2, seconds=12)
    run(cluster, trials, sweep_fakes.MakeFakes(), on_event=events.append)
    told = [event for event in events if event["event"] == "trial_progress"]
    assert {(event["seen"], event["total"]) for event in told} == {(1, 2)}
    ready = {event["worker"]: event["pid"] for event in events if event["event"] == "worker_ready"}
    assert {event["worker"] for event in told} <= set(ready)
    wait_until(lambda: not any(map(is_running, ready.values())), seconds=60)


@pytest.mark.parametrize("act", ["silent", "stop"])
def test_a_trial_that_makes_no_progress_is_ended_and_tried_again_and_then_fails(
    cluster: Any, tmp_path: Path, act: str
) -> None:
    """Asleep, or a process that is stopped, which Ray's own kill leaves behind."""
    bad = sweep_fakes.FakeTrial(id="bad", act=act, seconds=600, work=2)
    trials = [bad, *sweep_fakes.fake_trials(20)]
    records = run(cluster, trials, sweep_fakes.MakeFakes(tmp_path), retries=1, stall_timeout=10)
    by_id = {record["id"]: record for record in records}
    assert by_id["bad"]["status"] == "failed"
    assert by_id["bad"]["error"].count("made no progress for 10 s at trial bad") == 2
    assert [record["status"] for record in records].count("done") == 20
    pids = [int(file.name.split(".")[2]) for file in tmp_path.glob("bad.*")]
    assert len(pids) == 2
    wait_until(lambda: not any(map(is_running, pids)), seconds=60)
    if act == "silent":
        assert 'sweep_fakes.py", line' in by_id["bad"]["error"]  # where it hung


def test_trials_that_all_kill_their_actors_end_the_run(cluster: Any) -> None:
    trials = [FakeTrial(f"die{i}") for i in range(40)]
    with pytest.raises(RankError, match="workers died in a row and none finished a trial"):
        run(cluster, trials, FakeRunner(), retries=0)


def test_an_error_of_the_disk_ends_the_run(cluster: Any) -> None:
    def refuse(record: dict) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        run_on_ray(
            [FakeTrial(f"t{i}") for i in range(300)], FakeRunner(), refuse, address=cluster.address
        )


def test_what_cannot_work_is_said_at_once(cluster: Any) -> None:
    with pytest.raises(RankError, match="no such dataset here"):
        run(cluster, [FakeTrial("t")], CannotStart())
    with pytest.raises(UsageError, match="no node with 8 CPUs"):
        run(cluster, [FakeTrial("t")], FakeRunner(), threads=8)
