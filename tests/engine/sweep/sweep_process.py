"""A sweep of fake trials in a process of its own, to be killed, and what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def records_in(folder: Path) -> dict[str, dict[str, Any]]:
    return {file.stem: json.loads(file.read_text()) for file in folder.glob("*.json")}


def attempts_in(folder: Path) -> Counter[str]:
    return Counter(file.name.split(".")[0] for file in folder.iterdir())


# argv: the settings, as JSON. With an address among the options it runs on that Ray cluster.
SWEEP = """
    import json, sys
    from pathlib import Path
    sys.path[:0] = [{here!r}, {checkout!r}]
    from cli.signals import Terminated, sigterm_raises
    from sweep_fakes import MakeFakes, FakeTrial
    from engine.errors import EngineError
    from engine.records import content_id, sole_writer
    from engine.sweep.ledger import Ledger
    from engine.sweep.executors.local import run_local
    from engine.sweep.executors.ray_cluster import run_on_ray

    settings = json.loads(sys.argv[1])
    folder, workers, options = Path(settings["folder"]), settings["workers"], settings["options"]
    seconds = settings["seconds"]
    ledger = Ledger(folder / "sweep")
    act = "silent" if seconds > 10 else "succeed"
    trials = [
        FakeTrial(id=content_id(i), act=act, seconds=seconds) for i in range(settings["trials"])
    ]
    try:
        with sigterm_raises(), sole_writer(ledger.path):
            to_run = [trial for trial in trials if not ledger.is_done(trial.id)]
            print("begun", flush=True)
            make_runner = MakeFakes(folder / "attempts")
            if "address" in options:
                outcome = run_on_ray(to_run, make_runner, ledger.write, retries=40, **options)
            else:
                here = workers == "here"
                places = {{"workers": 1}} if here else {{"workers": workers, "threads": 1}}
                outcome = run_local(
                    to_run, make_runner, ledger.write, retries=40, **places, **options
                )
            (folder / "lost").write_text(str(outcome.workers_lost))
    except KeyboardInterrupt:
        sys.exit(130)
    except Terminated:
        sys.exit(75)
    except EngineError as error:
        print(error)
        sys.exit(error.exit_code)
"""


def start_sweep(
    folder: Path, trials: int, seconds: float, workers: object = 2, **options: Any
) -> Any:
    """Start a sweep in a process of its own; returns the process when it has begun."""
    (folder / "attempts").mkdir(parents=True, exist_ok=True)
    code = textwrap.dedent(SWEEP).format(here=str(HERE), checkout=str(HERE.parents[2]))
    settings = {"folder": str(folder), "trials": trials, "seconds": seconds, "workers": workers}
    command = [sys.executable, "-c", code, json.dumps({**settings, "options": options})]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def finished_in(folder: Path) -> dict[str, int]:
    return {file.stem: file.stat().st_mtime_ns for file in folder.glob("sweep/trials/*/*.json")}


def workers_of(process: Any) -> list[int]:
    return children_of(process.pid)


def children_of(pid: int) -> list[int]:
    """Processes that a process has started; its threads may end while they are asked."""
    found = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += [int(child) for child in thread.read_text().split()]
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
