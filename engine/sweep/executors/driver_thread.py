"""A sweep's driver as a thread of its own, while the main thread waits.

Ctrl-C and SIGTERM raise in the main thread wherever it is (and Ray swallows what a signal's handler
raises inside its calls). A record that has arrived is therefore taken and written by another
thread, whatever happens to the main one.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod


class DriverThread(threading.Thread, ABC):
    """Drives until the trials are over or `stop` is called, then ends its workers."""

    def __init__(self) -> None:
        super().__init__(name="sweep-driver")
        self.stopping = False
        self._over = threading.Event()
        self.error: BaseException | None = None

    @abstractmethod
    def drive(self) -> None:
        """Keep workers busy until every trial has ended, or ``stopping`` is set."""

    @abstractmethod
    def end(self) -> None:
        """End all workers; what they had sent before is still recorded."""

    def stop(self) -> None:
        """End soon: drop the current trials. Called by another thread."""
        self.stopping = True

    def run(self) -> None:
        try:
            self.drive()
        except BaseException as error:
            self.error = error
        try:
            self.end()
        except BaseException as error:
            self.error = self.error or error
        finally:
            self._over.set()

    def see_through(self) -> None:
        """Run from here to the end; raises what the thread did.

        Raises:
            KeyboardInterrupt, Terminated: as they reach the caller, after the thread was stopped.
        """
        try:
            self.start()
            self._over.wait()
        except BaseException:
            self.stop()
            raise
        finally:
            with contextlib.suppress(RuntimeError):  # it never started
                self.join()
        if self.error is not None:
            raise self.error
