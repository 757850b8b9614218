"""What a sweep says of itself while it runs, and how the cores of a machine are shared out."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sweep_fakes import FakeTrial, MakeFakes, fake_trials, write_file

from engine.errors import ArtefactError
from engine.records import write_record
from engine.sweep.executors.local import run_local
from engine.sweep.timing.packing import choose_packing, own_cores
from engine.sweep.watching.process_identity import identify_process, is_same_process
from engine.sweep.watching.status import StatusFile, sweep_status
from engine.sweep.watching.trained_images import TrainedImages
from engine.sweep.watching.watch import Watch, keys_that_differ


def watch(*events: tuple[float, str, dict[str, Any]]) -> Watch:
    """What a sweep of 4 trials on 2 workers, 100 images each, looks like after some events."""
    told = Watch()
    start = {"pid": os.getpid(), "trials": 4, "work": 400, "workers": 2, "threads": 1}
    told({"event": "sweep_started", "time": 100.0, **start})
    for worker in (0, 1):
        told({"event": "worker_started", "time": 100.0, "worker": worker, "pid": 70 + worker})
        told({"event": "worker_ready", "time": 110.0, "worker": worker})
    for time, kind, content in events:
        told({"event": kind, "time": time, **content})
    return told


def begun(time: float, worker: int, name: str) -> tuple[float, str, dict[str, Any]]:
    return time, "trial_started", {"worker": worker, "id": name, "cell": {"ipc": 1}, "work": 100}


def ended(
    time: float, worker: int | None, name: str, **content: Any
) -> tuple[float, str, dict[str, Any]]:
    trial = {"worker": worker, "id": name, "cell": {"ipc": 1}, "work": 100, "status": "done"}
    known = {"error": None, "test": 0.5, "rate": 10.0, "seconds": {"steps": 8.0, "evaluation": 1.0}}
    return time, "trial_finished", trial | known | content


def test_a_snapshot_says_who_is_at_what_since_when() -> None:
    halfway = {"worker": 0, "seen": 50, "total": 100}
    told = watch(begun(110, 0, "a"), begun(111, 1, "b"), (115, "trial_progress", halfway))
    first, second = told.snapshot()["workers"]
    assert (first["pid"], first["state"], first["id"], first["since"]) == (70, "running", "a", 110)
    assert (first["seen"], first["images_per_second"]) == (50, 10.0)
    assert (second["id"], second["seen"], second["images_per_second"]) == ("b", 0, None)
    assert told.snapshot()["trials"] == {
        "done_before": 0, "total": 4, "done": 0, "failed": 0, "running": 2, "waiting": 2,
    }  # fmt: skip


def test_the_time_left_is_that_of_the_work_left_at_the_rate_so_far() -> None:
    told = watch(begun(110, 0, "a"), begun(110, 1, "b"))
    assert told.eta() is None
    for event in (ended(120, 0, "a"), ended(120, 1, "b")):
        told({"event": event[1], "time": event[0], **event[2]})
    assert told.rate() == 200 / 10
    assert told.eta() == 200 / 20


def test_the_time_left_is_never_less_than_a_running_trial_needs() -> None:
    """The last trial runs alone: half the workers, so half the rate."""
    done = (ended(120, 0, name) for name in "abc")
    told = watch(begun(110, 0, "d"), *done, begun(120, 0, "d"), (120, "tick", {}))
    assert told.rate() == 300 / 10
    assert told.eta() == pytest.approx(100 / 15)


def test_a_trial_whose_record_is_awaited_counts_while_its_worker_is_at_the_next() -> None:
    all_seen = (119, "trial_progress", {"worker": 0, "seen": 100, "total": 100})
    told = watch(begun(110, 0, "a"), all_seen, begun(120, 0, "b"))
    assert (told.rate(), told.eta()) == (10, 30)
    for event in (ended(120, 0, "a"), (120, "tick", {})):
        told({"event": event[1], "time": event[0], **event[2]})
    assert (told.rate(), told.eta()) == (10, 30)


def test_the_images_trained_on_never_become_fewer_but_with_a_lost_worker() -> None:
    trials: Any = [SimpleNamespace(id=name, training_images=100) for name in "abc"]
    seen: list[int] = []
    told = TrainedImages(trials, lambda stage, done, total: seen.append(done))
    for _, kind, content in (
        begun(0, 0, "a"),
        (1, "trial_progress", {"worker": 0, "seen": 90, "total": 100}),
        begun(2, 0, "b"),
        (3, "trial_progress", {"worker": 0, "seen": 10, "total": 100}),
        ended(3, 0, "a"),
        (4, "tick", {}),
        (4, "worker_died", {"worker": 0, "pid": 70, "reason": "killed"}),
        (4, "trial_progress", {"worker": 0, "seen": 20, "total": 100}),
        begun(5, 0, "b"),
        ended(6, 0, "b"),
        ended(7, None, "c", status="failed"),
    ):
        told({"event": kind, **content})
    assert seen == [0, 90, 90, 100, 110, 100, 100, 100, 200, 300]


def test_failed_trials_are_no_progress_in_the_rate() -> None:
    failed = ended(111, None, "a", status="failed", error="E", test=None, seconds={})
    told = watch(failed, (120, "tick", {}))
    assert told.rate() is None
    assert told.snapshot()["trials"]["failed"] == 1


def test_the_best_cell_is_the_one_with_the_highest_mean() -> None:
    told = watch(
        ended(120, 0, "a", cell={"ipc": 1}, test=0.9),
        ended(121, 0, "b", cell={"ipc": 1}, test=0.3),
        ended(122, 0, "c", cell={"ipc": 2}, test=0.7),
    )
    assert told.snapshot()["best"] == {"cell": {"ipc": 2}, "test": 0.7, "trials": 1}


def test_what_had_finished_before_this_run_is_told_apart() -> None:
    told = Watch()
    start = {"pid": os.getpid(), "trials": 3, "work": 300, "workers": 1, "threads": 1}
    told({"event": "sweep_started", "time": 0.0, **start, "already_done": 97})
    trials = told.snapshot()["trials"]
    assert (trials["done_before"], trials["total"], trials["done"]) == (97, 3, 0)


SOFT = {"ipc": 1, "labels": "soft", "expert": "ada", "expert_epoch": 4, "transform": "soft"}
HARD = {"ipc": 1, "labels": "hard", "expert": None, "expert_epoch": None, "transform": None}


@pytest.mark.parametrize(
    ("cells", "keys"),
    [
        ([SOFT], []),
        ([SOFT, SOFT | {"expert_epoch": 7}], ["expert_epoch"]),
        ([SOFT | {"expert_epoch": 7, "ipc": 5}, SOFT], ["ipc", "expert_epoch"]),
        ([HARD, SOFT], ["labels"]),
        ([HARD, SOFT, SOFT | {"expert": "bob"}], ["labels", "expert"]),
        ([SOFT, SOFT | {"ensemble": "4+7"}, SOFT | {"ensemble": "4+9"}], ["ensemble"]),
    ],
)
def test_cells_differ_in_the_keys_that_have_several_values(cells, keys) -> None:
    assert sorted(keys_that_differ(cells)) == sorted(keys)
    told = watch(*(ended(120, 0, f"{n}", cell=cell) for n, cell in enumerate(cells)))
    assert sorted(told.snapshot()["cell_keys"]) == sorted(keys)


def test_keys_in_which_a_plan_differs_are_known_before_its_cells_are_seen() -> None:
    told = Watch()
    start = {"pid": os.getpid(), "trials": 3, "work": 300, "workers": 1, "threads": 1}
    told({"event": "sweep_started", "time": 0.0, **start, "cell_keys": ["ipc", "expert_epoch"]})
    event = begun(1.0, 0, "a")
    told({"event": event[1], "time": event[0], **event[2], "cell": SOFT})
    assert told.snapshot()["cell_keys"] == ["ipc", "expert_epoch"]


def test_the_shares_of_workers_time_add_up_to_one() -> None:
    shares = watch(begun(110, 0, "a"), ended(120, 0, "a")).shares()
    assert shares == pytest.approx({"steps": 0.8, "evaluation": 0.1, "other": 0.1})


def test_a_worker_that_began_its_next_trial_before_the_last_was_durable_keeps_it() -> None:
    told = watch(begun(110, 0, "a"), begun(118, 0, "b"), ended(119, 0, "a"))
    assert told.snapshot()["workers"][0]["id"] == "b"
    assert told.snapshot()["workers"][0]["since"] == 118


@pytest.mark.parametrize("threads", [None, 1])
def test_a_finished_sweep_leaves_a_status_that_says_so(tmp_path: Path, threads) -> None:
    (tmp_path / "records").mkdir()
    run_local(
        [*fake_trials(6), FakeTrial(id="bad", act="raise")],
        MakeFakes(),
        lambda record: write_file(tmp_path / "records", record),
        workers=1,
        threads=threads,
        on_event=StatusFile(tmp_path),
    )
    status = sweep_status(tmp_path)
    assert (status["state"], status["alive"], status["workers"]) == ("finished", False, [])
    assert (status["trials"]["done"], status["trials"]["failed"]) == (6, 1)
    assert [file.name for file in tmp_path.iterdir() if "status" in file.name] == ["status.json"]


def test_the_file_is_written_at_most_twice_a_second_and_at_the_end(tmp_path: Path) -> None:
    now = [0.0]
    status = StatusFile(tmp_path, clock=lambda: now[0])
    written = []
    status._write = lambda: written.append(now[0])  # type: ignore[method-assign]
    start = {"pid": os.getpid(), "trials": 1, "work": 1, "workers": 1, "threads": 1}
    status({"event": "sweep_started", "time": 0.0, **start})
    for tenth in range(1, 23):
        now[0] = tenth / 10
        status({"event": "tick", "time": now[0]})
    status({"event": "sweep_stopped", "time": now[0]})
    assert written == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0, 2.2])


def test_a_full_disk_does_not_stop_the_sweep(tmp_path: Path) -> None:
    status = StatusFile(tmp_path / "gone")
    start = {"pid": os.getpid(), "trials": 1, "work": 1, "workers": 1, "threads": 1}
    status({"event": "sweep_started", "time": 0.0, **start})
    assert status.watch.state == "running"


def running_status(folder: Path, **driver: Any) -> dict[str, Any]:
    snapshot = watch().snapshot()
    snapshot["driver"] |= driver
    (folder / "status.json").write_text(json.dumps(snapshot))
    return sweep_status(folder)


def test_a_driver_that_lives_is_told_from_one_that_died(tmp_path: Path) -> None:
    assert running_status(tmp_path)["alive"] is True
    recycled = running_status(tmp_path, start=1)
    assert (recycled["state"], recycled["alive"]) == ("died", False)
    rebooted = running_status(tmp_path, boot="another")
    assert (rebooted["state"], rebooted["alive"]) == ("died", False)
    elsewhere = running_status(tmp_path, host=f"not-{socket.gethostname()}")
    assert (elsewhere["state"], elsewhere["alive"]) == ("running", None)


def test_a_process_is_itself_until_it_dies() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = identify_process(process.pid)
    assert is_same_process(known) is True
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert is_same_process(known) is False


def test_a_sweep_without_a_status_is_refused_with_the_next_command(tmp_path: Path) -> None:
    write_record(tmp_path / "sweep.json", {"kind": "sweep"})
    for content in (None, "", "[]", "{}"):
        if content is not None:
            (tmp_path / "status.json").write_text(content)
        with pytest.raises(ArtefactError, match=r"no readable status\.json.*engine info") as told:
            sweep_status(tmp_path)
        assert "Errno" not in str(told.value)


def test_what_is_no_sweep_is_refused_by_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").touch()
    write_record(tmp_path / "run" / "manifest.json", {"kind": "expert-run"})
    for name, found in (
        ("run", rf"an expert run; `engine info {tmp_path}/run`"),
        ("photos", "no artefact of ours"),
        ("gone", "nothing"),
    ):
        with pytest.raises(ArtefactError, match=rf"sweep at {tmp_path}/{name}, found {found}"):
            sweep_status(tmp_path / name)


def test_the_fastest_packing_wins() -> None:
    rates = {(1, 4): 100.0, (2, 2): 150.0, (4, 1): 120.0}
    packing = choose_packing(4, lambda workers, threads: rates[workers, threads])
    assert (packing.workers, packing.threads, packing.rates) == (2, 2, rates)
    assert packing.reason == "2 workers × 2 threads: 150 images/s (1 × 4: 100, 4 × 1: 120)"


def test_more_workers_must_be_worth_their_memory() -> None:
    assert choose_packing(2, lambda workers, threads: 100 + workers).workers == 1
    assert choose_packing(6, lambda workers, threads: workers, most_workers=3).workers == 3
    with pytest.raises(ValueError, match="0 cores"):
        choose_packing(0, lambda workers, threads: 1.0)


def test_workers_that_fill_the_machine_get_cores_of_their_own() -> None:
    assert own_cores(2, 2, [0, 1, 4, 5]) == [[0, 1], [4, 5]]
    assert own_cores(2, 1, [0, 1, 4, 5]) == [[], []]
    assert own_cores(3, 2, [0, 1]) == [[], [], []]
