"""Where a Ray cluster is looked for, and what is said if there is none."""

from __future__ import annotations

import signal
import socket
from typing import Any

import pytest
from sweep_fakes import MakeFakes, fake_trials

from engine.errors import UsageError
from engine.sweep.executors.ray_cluster import run_on_ray
from engine.sweep.executors.ray_connection import joined

ray = pytest.importorskip("ray")


def run(address: str | None) -> None:
    run_on_ray(fake_trials(1), MakeFakes(), lambda record: None, address=address)


def a_port_without_a_server() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize("variable", [False, True])
def test_an_address_where_nothing_answers_is_refused_with_the_next_command(
    monkeypatch: pytest.MonkeyPatch, variable: bool
) -> None:
    """At once: Ray itself would try for two minutes."""
    address = f"127.0.0.1:{a_port_without_a_server()}"
    monkeypatch.setattr(ray, "init", lambda **options: pytest.fail("asked Ray"))
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UsageError, match=rf"at {address} .*`ray start --head") as found:
        run(None if variable else address)
    assert found.value.exit_code == 2


def test_auto_on_a_machine_without_ray_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(address: str) -> str:
        raise ConnectionError("Could not find any running Ray instance")

    monkeypatch.setattr("ray._private.services.canonicalize_bootstrap_address", find)
    with pytest.raises(UsageError, match=r"no Ray cluster runs on this machine.*ray start --head"):
        run("auto")


@pytest.mark.parametrize("address", ["nonsense", "host:", "host:port", "host:99999999"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="ray start --head"):
        run(address)


def test_what_ray_says_of_a_cluster_that_it_can_not_join_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def init(**options: Any) -> None:
        raise RuntimeError("Version mismatch: The cluster was started with Ray 1.0")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(UsageError, match=r"Version mismatch.*1\.0"):
        run("local")


@pytest.mark.parametrize("address", [None, "local"])
def test_without_an_address_a_cluster_of_its_own_is_started(
    monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    """Not one that happens to run on this machine, of somebody else perhaps."""
    asked: list[dict] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", lambda **options: asked.append(options))
    monkeypatch.setattr(ray, "shutdown", lambda: asked.append({"address": "shut down"}))
    with joined(ray, address):
        assert [options["address"] for options in asked] == ["local"]
    assert asked[-1]["address"] == "shut down"


def test_a_connection_that_is_there_already_is_used_and_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    for name in ("init", "shutdown"):
        monkeypatch.setattr(ray, name, lambda **options: pytest.fail("changed it"))
    with joined(ray, "127.0.0.1:1"):
        pass


def test_sigterm_while_ray_starts_is_handled_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray puts a handler of its own in place, which would end the process with code 15."""

    class Stopped(BaseException):
        pass

    def ours(number: int, frame: object) -> None:
        raise Stopped

    def init(**options: Any) -> None:
        def rays(number: int, frame: object) -> None:
            raise SystemExit(number)

        signal.signal(signal.SIGTERM, rays)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(ray, "init", init)
    before = signal.signal(signal.SIGTERM, ours)
    try:
        with pytest.raises(Stopped), joined(ray, "local"):
            pytest.fail("went on")
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)
