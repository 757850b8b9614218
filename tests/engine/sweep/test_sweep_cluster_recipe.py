"""The script for Slurm in docs/cluster.md, run by bash against stand-ins for Slurm, Ray and us."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sweep_process import wait_until

DOC = Path(__file__).parents[3] / "docs" / "cluster.md"

# Each notes its name and arguments in $LOG, then does what its part in the play is.
STAND_INS = {
    "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "scontrol": 'if [ "$1" = show ]; then printf "%s\\n" $NODES; fi',
    "ray": """
        if [ "$1" = health-check ]; then
            grep -q "^token" "$LOG"; exit
        fi
        echo "token ${#RAY_AUTH_TOKEN} $RAY_AUTH_MODE" >> "$LOG"
        exec sleep 600""",
    "engine": """
        trap 'echo "engine got TERM" >> "$LOG"; sleep 0.3; exit 75' TERM
        while [ "$(grep -c "^token" "$LOG")" -lt "$STEPS" ]; do sleep 0.05; done
        if [ -n "$ENDS_WITH" ]; then exit "$ENDS_WITH"; fi
        echo "engine runs" >> "$LOG"
        while :; do sleep 0.1; done""",
    "sleep": 'if [ "$1" = 2 ]; then exec /bin/sleep 0.1; fi; exec /bin/sleep "$@"',
}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (found,) = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", DOC.read_text(), flags=re.DOTALL)
    path = tmp_path / "job.sh"
    path.write_text(found)
    (tmp_path / "bin").mkdir()
    for name, part in STAND_INS.items():
        stand_in = tmp_path / "bin" / name
        stand_in.write_text(
            f'#!/bin/bash\n[ {name} = sleep ] || echo "{name} $*" >> "$LOG"\n{part}\n'
        )
        stand_in.chmod(0o755)
    return path


def start(script: Path, nodes: str, ends_with: str = "") -> Any:
    environment = os.environ | {
        "PATH": f"{script.parent / 'bin'}:{os.environ['PATH']}",
        "LOG": str(script.parent / "log"),
        "NODES": nodes,
        "STEPS": str(min(len(nodes.split()), 2)),
        "ENDS_WITH": ends_with,
        "SLURM_JOB_ID": "123456",
        "SLURM_JOB_NODELIST": "a[1-3]",
        "SLURM_CPUS_PER_TASK": "32",
    }
    return subprocess.Popen(["bash", str(script)], env=environment, start_new_session=True)


def log_of(script: Path) -> list[str]:
    log = script.parent / "log"
    return log.read_text().splitlines() if log.exists() else []


def is_group_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_is_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_ray_runs_on_every_node_before_the_driver_does_and_ends_after_it(script: Path) -> None:
    job = start(script, "a1 a2 a3", ends_with="1")
    assert job.wait(60) == 1
    log = log_of(script)
    steps = [line for line in log if line.startswith("srun")]
    assert len(steps) == 2
    assert "--nodelist=a1 --cpus-per-task=32 ray start --head --port=23456" in steps[0]
    assert "--nodes=2 --ntasks-per-node=1 --nodelist=a2,a3" in steps[1]
    assert "ray start --address=a1:23456 --num-cpus=32" in steps[1]
    assert {line for line in log if line.startswith("token")} == {"token 64 token"}
    (driver,) = (line for line in log if line.startswith("engine sweep-students"))
    assert "--executor ray --ray-address a1:23456" in driver
    before = log[: log.index(driver)]
    assert steps[0] in before  # the head, which has answered
    assert "ray health-check --address=a1:23456" in before
    assert any(line.startswith("token") for line in before)
    assert not [line for line in log if "requeue" in line]
    wait_until(lambda: is_group_gone(job.pid))


def test_one_node_is_enough(script: Path) -> None:
    assert start(script, "a1", ends_with="0").wait(60) == 0
    assert len([line for line in log_of(script) if line.startswith("srun")]) == 1


@pytest.mark.parametrize(("number", "again"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_a_signal_stops_the_driver_and_only_a_warning_puts_the_job_back(
    script: Path, number: int, again: bool
) -> None:
    job = start(script, "a1 a2")
    wait_until(lambda: "engine runs" in log_of(script), 60)
    os.kill(job.pid, number)
    wait_until(lambda: "engine got TERM" in log_of(script), 60)
    os.kill(job.pid, signal.SIGTERM)  # Slurm may send more while the driver ends
    assert job.wait(60) == 75
    assert ("scontrol requeue 123456" in log_of(script)) == again
    wait_until(lambda: is_group_gone(job.pid))


def test_a_warning_before_the_driver_runs_puts_the_job_back_too(script: Path) -> None:
    deaf = '#!/bin/bash\nif [ "$1" = health-check ]; then exit 1; fi\nexec /bin/sleep 600\n'
    (script.parent / "bin" / "ray").write_text(deaf)
    job = start(script, "a1")
    wait_until(lambda: any(line.startswith("srun") for line in log_of(script)), 60)
    os.kill(job.pid, signal.SIGUSR1)
    assert job.wait(60) == 75
    assert "scontrol requeue 123456" in log_of(script)
    assert not any(line.startswith("engine") for line in log_of(script))
    wait_until(lambda: is_group_gone(job.pid))
