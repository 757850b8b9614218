"""A worker process of `ordered_work`: reads ranges from its pipe, answers with chunks.

Protocol on the inherited socket, both ends being this package: first (split, rules); then requests
(position, first, stop); each answer is (position, Chunk without payload, sizes), followed by the
payload as one message of bytes, or (position, (message, sample), ()) for a damaged sample. End of
file means that the parent is done, or gone.
"""

import signal
import sys
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection

from beton_builder.chunks import make_chunk
from beton_builder.errors import DamagedSource


def serve(descriptor: int) -> None:
    """Answer requests until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and closes the pipe
    with Connection(descriptor) as pipe, suppress(EOFError, ConnectionError):
        split, rules = pipe.recv()
        while True:
            position, first, stop = pipe.recv()
            try:
                chunk = make_chunk(split, rules, first, stop)
            except DamagedSource as error:
                pipe.send((position, (str(error), error.sample), ()))
                continue
            sizes = [len(buffer) for buffer in chunk.payload]
            pipe.send((position, replace(chunk, payload=()), sizes))
            pipe.send_bytes(b"".join(chunk.payload))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
