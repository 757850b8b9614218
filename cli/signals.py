"""SIGTERM becomes an exception of the main thread: `finally` blocks run and nothing is torn.

Schedulers announce preemption by SIGTERM. `Terminated` is no `Exception`: code that catches
`Exception` to carry on with the next trial doesn't swallow it.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """This process was asked to end by SIGTERM; the command exits with 75 and can be resumed."""


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """While the block runs, the first SIGTERM raises `Terminated`; later ones change nothing.

    Schedulers send it more than once. After the first the process is on its way out, so SIGTERM
    stays ignored behind the block too, or a second one would replace the exit code that was chosen.
    A process forked inside the block dies of SIGTERM as if this handler weren't there.
    Outside the main thread, where Python installs no handlers, the block runs unchanged.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    owner = os.getpid()
    raised = False

    def raise_terminated(signum: int, frame: FrameType | None) -> None:
        nonlocal raised
        if os.getpid() != owner:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        elif not raised:
            raised = True
            raise Terminated

    before = signal.signal(signal.SIGTERM, raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if raised else before)
