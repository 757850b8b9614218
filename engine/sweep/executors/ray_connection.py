"""Join a Ray cluster or start one on this machine, without a long wait and without noise."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.errors import UsageError

LONGEST_KNOCK = 5.0  # seconds; Ray itself knocks for two minutes, then ends the process
START = (
    "start one with `ray start --head --port=6379` and give --ray-address HOST:6379, or leave "
    "--ray-address out for Ray on this machine alone"
)

TOKEN = (
    "A cluster that asks for a token wants RAY_AUTH_MODE=token in the environment of every node "
    "and of this command, and the same token (docs/cluster.md)"
)


def import_ray() -> Any:
    """The module.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise UsageError(
            "--executor ray needs Ray, which is not installed: in the checkout of this project, "
            "type scripts/setup, or pip install -e '.[ray]'"
        ) from None
    return ray


@contextmanager
def joined(ray: Any, address: str | None) -> Iterator[None]:
    """Be connected inside the block; a connection that is there already is used and left.

    Args:
        address: ``HOST:PORT`` of the cluster's head; ``auto``, the cluster that this machine is a
            node of; None, $RAY_ADDRESS or else a cluster of this machine that ends with the block.

    Raises:
        UsageError: no cluster answers there.
    """
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    own: dict[str, Any] = {}
    if address == "local":
        own["include_dashboard"] = False
    elif "://" not in address:
        _knock(ray, address)
    with _own_sigterm():
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error", **own)
        except Exception as error:
            raise UsageError(f"Ray can't be joined at {address}: {error}\n{TOKEN}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep our handler of SIGTERM, for which Ray puts one of its own that exits with code 15."""
    ours = signal.getsignal(signal.SIGTERM)
    came = False
    try:
        yield
    except SystemExit as error:
        came = error.code == signal.SIGTERM
        if not came:
            raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)
    if came:
        signal.raise_signal(signal.SIGTERM)
        raise SystemExit(128 + signal.SIGTERM)  # where ours ignores it


def _knock(ray: Any, address: str) -> None:
    """Raise unless a head listens there."""
    if address == "auto":
        try:
            address = ray._private.services.canonicalize_bootstrap_address("auto")
        except ConnectionError:
            raise UsageError(f"no Ray cluster runs on this machine; {START}") from None
        except AttributeError:
            return  # another version of Ray, which finds it itself
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--ray-address {address!r}: expected auto or HOST:PORT; {START}")
    try:
        _connect(address)
    except (OSError, OverflowError) as error:
        raise UsageError(f"no Ray cluster answers at {address} ({error}); {START}") from None


def head_answers(ray: Any) -> bool:
    """Whether the head of the cluster that we are connected to still listens.

    Asked by ourselves: Ray's own calls wait for a head that is gone, and after a minute of that it
    ends the process without a word.
    """
    try:
        _connect(ray.get_runtime_context().gcs_address)
    except OSError:
        return False
    return True


def _connect(address: str) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), LONGEST_KNOCK).close()
