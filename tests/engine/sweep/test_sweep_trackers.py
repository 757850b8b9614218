"""Trackers follow a sweep, and whatever goes wrong with them, the sweep goes on."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import accelerate.tracking
import pytest
from accelerate import PartialState
from accelerate.tracking import GeneralTracker
from sweep_fakes import FakeTrial, MakeFakes, fake_trials

from engine.errors import UsageError
from engine.sweep.executors.local import run_local
from engine.sweep.executors.recording import Outcome
from engine.sweep.watching.trackers import TrackerListener


class Notebook(GeneralTracker):
    """Notes what it is told, and in which thread."""

    name = "notebook"
    requires_logging_directory = False

    def __init__(self, run_name: str = "", *, before_log: Callable[[int], Any] = lambda _: None):
        super().__init__()
        self.run_name, self.before_log = run_name, before_log
        self.config: dict[str, Any] | None = None
        self.entries: list[tuple[int | None, dict[str, Any]]] = []
        self.calls: list[str] = []
        self.threads: set[int] = set()

    @property
    def tracker(self) -> Notebook:
        return self

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.threads.add(threading.get_ident())

    def start(self) -> None:
        self._note("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self._note("configure")
        self.config = values

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        self._note("log")
        self.before_log(len(self.entries))
        self.entries.append((step, values))

    def finish(self) -> None:
        self._note("finish")


@pytest.fixture(autouse=True)
def _accelerate_left_as_found() -> Iterator[None]:
    before = bool(PartialState._shared_state)
    yield
    if not before:
        PartialState._reset_state()


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Accelerate's table of tracker classes, as it was afterwards."""
    table = dict(accelerate.tracking.LOGGER_TYPE_TO_CLASS)
    monkeypatch.setattr(accelerate.tracking, "LOGGER_TYPE_TO_CLASS", table)
    return table


def nothing(_record: dict[str, Any]) -> None:
    """A ledger that keeps nothing."""


def run(trials: list[FakeTrial], listener: Callable[[dict[str, Any]], None]) -> Outcome:
    return run_local(trials, MakeFakes(), nothing, on_event=listener)


def follow(tracker: Notebook, trials: list[FakeTrial], sweep: Path, **options: Any) -> Outcome:
    with TrackerListener([tracker], sweep, **options) as listener:
        return run(trials, listener)


def test_every_finished_trial_is_one_entry_at_its_step(tmp_path: Path) -> None:
    notebook = Notebook()
    trials = [*fake_trials(2), FakeTrial(id="f" * 16, act="raise")]
    follow(notebook, trials, tmp_path)
    assert [step for step, _ in notebook.entries] == [1, 2, 3]
    entries = {values["trial/id"]: values for _, values in notebook.entries}
    assert entries[trials[0].id]["trial/test"] == 0.5
    assert entries[trials[0].id]["seconds/steps"] == 0.0
    assert entries[trials[0].id]["cell/act"] == "succeed"
    assert "trial/test" not in entries["f" * 16]
    last = notebook.entries[-1][1]
    counts = {name: last[f"sweep/{name}"] for name in ("done", "failed", "left", "workers_lost")}
    assert counts == {"done": 2, "failed": 1, "left": 0, "workers_lost": 0}


def test_cells_and_times_become_fields_and_nulls_do_not(tmp_path: Path) -> None:
    notebook = Notebook()
    with TrackerListener([notebook], tmp_path) as listener:
        listener(
            {
                "event": "trial_finished",
                "id": "a1",
                "cell": {"ipc": 10, "expert_epoch": None, "labels": "hard"},
                "status": "done",
                "test": 0.25,
                "seconds": {"steps": 2.0, "evaluation": 0.5},
                "rate": 1590.0,
            }
        )
    ((step, values),) = notebook.entries
    assert step == 1
    assert {name: value for name, value in values.items() if not name.startswith("sweep/")} == {
        "trial/id": "a1",
        "trial/test": 0.25,
        "trial/images_per_second": 1590.0,
        "seconds/steps": 2.0,
        "seconds/evaluation": 0.5,
        "cell/ipc": 10,
        "cell/labels": "hard",
    }


def test_workers_that_died_are_counted(tmp_path: Path) -> None:
    notebook = Notebook()
    trials = [FakeTrial(id="a" * 16, act="kill")]
    with TrackerListener([notebook], tmp_path) as listener:
        run_local(trials, MakeFakes(), nothing, threads=1, retries=1, on_event=listener)
    assert notebook.entries[-1][1]["sweep/workers_lost"] == 2


def test_steps_count_on_from_the_trials_that_had_finished(tmp_path: Path) -> None:
    notebook = Notebook()
    follow(notebook, fake_trials(2), tmp_path, finished_before=40)
    assert [step for step, _ in notebook.entries] == [41, 42]


def test_the_configuration_is_stored_flat_and_without_nulls(tmp_path: Path) -> None:
    notebook = Notebook()
    config = {"student": {"lr": 0.1, "kind": "sgd"}, "ipc": [1, 10], "codec": None}
    follow(notebook, [], tmp_path, config=config)
    assert notebook.config == {"student.lr": 0.1, "student.kind": "sgd", "ipc": "[1, 10]"}


def test_all_of_a_tracker_happens_in_one_thread_that_is_not_the_sweeps(tmp_path: Path) -> None:
    notebook = Notebook()
    follow(notebook, fake_trials(3), tmp_path)
    assert notebook.calls == ["start", "configure", *["log"] * 3, "finish"]
    assert len(notebook.threads) == 1
    assert threading.get_ident() not in notebook.threads


def test_trials_do_not_wait_for_a_slow_tracker(tmp_path: Path) -> None:
    """The tracker takes its first entry only when the whole sweep is over."""
    over = threading.Event()
    notebook = Notebook(before_log=lambda _number: over.wait(60))
    with TrackerListener([notebook], tmp_path) as listener:
        outcome = run(fake_trials(50), listener)
        assert (outcome.done, notebook.entries) == (50, [])
        over.set()
    assert len(notebook.entries) == 50


def test_a_tracker_that_raises_is_dropped_with_one_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(number: int) -> None:
        if number == 2:
            raise ConnectionError("the server is gone")

    failing, sound = Notebook(before_log=fail), Notebook()
    with TrackerListener([failing, sound], tmp_path) as listener:
        outcome = run(fake_trials(30), listener)
    assert outcome.done == 30
    assert (len(failing.entries), len(sound.entries)) == (2, 30)
    assert capsys.readouterr().err == (
        "the tracker notebook is told no more (ConnectionError: the server is gone); "
        "the sweep goes on\n"
    )


def test_a_tracker_that_hangs_does_not_hold_up_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for_ever = threading.Event()
    notebook = Notebook(before_log=lambda _number: for_ever.wait(120))
    follow(notebook, fake_trials(3), tmp_path, patience=0.05)
    assert "the tracker notebook did not end within 0.05 s" in capsys.readouterr().err
    for_ever.set()


def test_a_tracker_that_cannot_start_refuses_the_sweep(tmp_path: Path) -> None:
    class LoggedOut(Notebook):
        name = "logged out"

        def start(self) -> None:
            raise SystemExit("log in first")

    sound = Notebook()
    refused = pytest.raises(UsageError, match=r"logged out can't start \(SystemExit: log in first")
    with refused, TrackerListener([sound, LoggedOut()], tmp_path):
        pytest.fail("the sweep began")
    assert sound.calls == ["start", "configure", "finish"]


def test_nothing_starts_before_the_listener_is_entered(tmp_path: Path) -> None:
    notebook = Notebook()
    TrackerListener([notebook], tmp_path)
    assert notebook.calls == []
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_tracker_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown tracker 'tensorbord'; did you mean tensorboard"):
        TrackerListener(["tensorbord"], tmp_path)
    with pytest.raises(UsageError, match=r"unknown tracker 'xyz'; expected aim, all, clearml"):
        TrackerListener(["xyz"], tmp_path)


@pytest.mark.parametrize(("name", "install"), [("wandb", "wandb"), ("aim", "'aim<4'")])
def test_a_tracker_that_is_not_installed_is_refused_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, install: str
) -> None:
    monkeypatch.setattr(accelerate.tracking, "get_available_trackers", lambda: ["tensorboard"])
    with pytest.raises(UsageError) as refusal:
        TrackerListener([name], tmp_path)
    assert str(refusal.value) == (
        f"the tracker {name} is not installed: `pip install {install}` (ready here: tensorboard)"
    )
    assert refusal.value.exit_code == 2


def test_all_needs_one_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registered: dict[str, Any]
) -> None:
    monkeypatch.setattr(accelerate.tracking, "get_available_trackers", list)
    with pytest.raises(UsageError, match="no tracker is installed: `pip install tensorboard`"):
        TrackerListener(["all"], tmp_path)
    made: list[Notebook] = []

    class Counted(Notebook):
        def __init__(self, run_name: str) -> None:
            super().__init__(run_name)
            made.append(self)

    registered["notebook"] = Counted
    with TrackerListener(["all", "notebook"], tmp_path) as listener:
        run(fake_trials(1), listener)
    assert [len(notebook.entries) for notebook in made] == [1]


def test_a_registered_class_is_made_by_its_name_for_the_project(
    tmp_path: Path, registered: dict[str, Any]
) -> None:
    made: list[Notebook] = []

    class Kept(Notebook):
        def __init__(self, run_name: str) -> None:
            super().__init__(run_name)
            made.append(self)

    registered["kept"] = Kept
    with TrackerListener(["kept"], tmp_path / "fig3b") as listener:
        run(fake_trials(1), listener)
    (notebook,) = made
    assert (notebook.run_name, len(notebook.entries)) == ("fig3b", 1)


def test_a_tracker_of_files_keeps_them_in_the_sweep(
    tmp_path: Path, registered: dict[str, Any]
) -> None:
    class OfFiles(Notebook):
        requires_logging_directory = True

        def __init__(self, run_name: str, logging_dir: str) -> None:
            super().__init__(run_name)
            (Path(logging_dir) / "made").touch()

    registered["files"] = OfFiles
    with TrackerListener(["files"], tmp_path):
        pass
    assert (tmp_path / "trackers" / "files" / "made").exists()


def test_text_is_kept_from_trackers_that_take_only_numbers(tmp_path: Path) -> None:
    class OfNumbers(Notebook):
        name = "mlflow"

    notebook = OfNumbers()
    follow(notebook, fake_trials(2), tmp_path)
    for _, values in notebook.entries:
        assert {"trial/test", "sweep/done"} <= set(values)
        assert not any(isinstance(value, str) for value in values.values())


def test_tensorboard_has_the_curve_of_a_sweep(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TrackerListener(["tensorboard"], tmp_path / "fig3b", {"ipc": [1]}) as listener:
        run(fake_trials(4), listener)
    events = EventAccumulator(str(tmp_path / "fig3b" / "trackers" / "tensorboard" / "fig3b"))
    events.Reload()
    done = [(event.step, event.value) for event in events.Scalars("sweep/done")]
    assert done == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    assert {event.value for event in events.Scalars("trial/test")} == {0.5}


def test_accelerate_is_not_imported_unless_a_tracker_is_asked_for() -> None:
    code = (
        "import sys; sys.path[:] = eval(sys.argv[1]); import engine.sweep.watching.trackers; "
        "print('accelerate' in sys.modules, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, repr(sys.path)]
    assert subprocess.check_output(command, text=True).split() == ["False", "False"]
