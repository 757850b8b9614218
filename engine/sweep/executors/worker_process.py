"""The driver's end of a worker process: start it, exchange messages, say how it died.

The worker is started by its script's path and not by multiprocessing: the threads are limited in
its environment before it imports anything, and a program without a `__main__` guard works. The
socket never blocks the driver: a worker in the middle of a trial doesn't read, a dying one may have
written half a message.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from beton_builder.machine import CORES_OF_ALL, machine_cores
from engine.sweep.executors import worker as worker_script
from engine.sweep.executors.worker import FRAME, SAY_WHERE, THREAD_VARIABLES, frame

LONGEST_OUTPUT = 4000  # characters of a dead worker's output that are told
LONGEST_LAST_WORD = 0.5  # seconds that a hanging worker has to write where it hangs


class WorkerProcess:
    """A running worker. ``name`` is its own, ``slot`` its place on the machine.

    ``ready``: it has said so. ``ended``: its end of the socket is closed, so nothing more comes.
    """

    def __init__(
        self,
        name: int,
        slot: int,
        make_runner: bytes,
        *,
        threads: int,
        cores: Sequence[int],
        device: int | str | None = None,
    ) -> None:
        """
        Args:
            make_runner: pickled.
            cores: where not empty, the only ones that it may use.
            device: the one GPU that it sees, as CUDA_VISIBLE_DEVICES names it;
                without, those that we see.
        """
        self.name, self.slot = name, slot
        self.ready = self.ended = False
        self.since = time.monotonic()
        self._incoming, self._outgoing = bytearray(), bytearray()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
        environment[CORES_OF_ALL] = str(machine_cores())
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = str(device)
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", worker_script.__file__),
                    *(str(theirs.fileno()), str(os.getpid())),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                env=environment,
            )
        self.pid = self._process.pid
        path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100 ("" is here)
        setup = {"path": path, "make_runner": make_runner, "threads": threads, "cores": cores}
        self.send(setup)

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether messages wait until the worker reads."""
        return bool(self._outgoing)

    def send(self, message: object) -> None:
        """Send a message now or, by `flush`, when the worker reads; to a dead one it is lost."""
        self._outgoing += frame(message)
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the worker takes it."""
        while self._outgoing:
            try:
                sent = self._socket.send(self._outgoing)
            except BlockingIOError:
                return
            except OSError:
                self._outgoing.clear()
                return
            del self._outgoing[:sent]

    def receive(self) -> list[Any]:
        """Every message that has arrived whole; sets ``ended`` behind the last one."""
        while True:
            try:
                data = self._socket.recv(1 << 18)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.ended = True
                break
            self._incoming += data
        return list(self._whole_messages())

    def _whole_messages(self) -> Any:
        start = 0
        while len(self._incoming) - start >= FRAME.size:
            (size,) = FRAME.unpack_from(self._incoming, start)
            stop = start + FRAME.size + size
            if stop > len(self._incoming):
                break
            yield pickle.loads(memoryview(self._incoming)[start + FRAME.size : stop])
            start = stop
        del self._incoming[:start]

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def terminate(self) -> None:
        """Ask it to end."""
        with contextlib.suppress(OSError):
            self._process.terminate()

    def kill(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def say_where(self) -> None:
        """Have it write where its threads are, for `death` to tell; a stopped one can't."""
        with contextlib.suppress(OSError):
            before = self._output_size()
            self._process.send_signal(SAY_WHERE)
            end = time.monotonic() + LONGEST_LAST_WORD
            while time.monotonic() < end and self._output_size() == before:
                time.sleep(0.01)
            time.sleep(0.05)  # it writes line by line

    def wait(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        try:
            self._process.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def death(self, verdict: str | None = None) -> str:
        """How an ended worker came to its end, with the last that it wrote; waits for the end.

        ``verdict`` is the reason where it was ended on purpose.
        """
        if not self.wait(5):  # its socket is shut, so it can't be of use any more
            self.kill()
            self.wait(5)
        code = self._process.returncode
        how = f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            how += ", often the sign of too little memory" if code == -signal.SIGKILL else ""
        first = max(self._output_size() - LONGEST_OUTPUT, 0)
        said = os.pread(self._output.fileno(), LONGEST_OUTPUT, first).decode("utf-8", "replace")
        wrote = f"; it wrote:\n{said.strip()}" if said.strip() else ""
        return f"worker {self.slot} (pid {self.pid}) {verdict or how}{wrote}"

    def _output_size(self) -> int:
        return os.fstat(self._output.fileno()).st_size

    def close(self) -> None:
        """Give up its socket and output; the process must have ended."""
        self._socket.close()
        self._output.close()
