"""`python -m tests.hostile_decoder`: a decoder process that a picture has taken over. It answers what the picture says, byte for byte."""

import os
import socket

from worker.decoder_wire import DONE, READY, REQUEST_LENGTHS, receive


def main() -> None:
    """Answer, and where the worker then sends memory, try to cut it short under the worker's eyes."""
    worker = socket.socket(fileno=0)
    worker.sendall(READY)
    while True:
        asked_bytes, size_bytes = REQUEST_LENGTHS.unpack(receive(worker, REQUEST_LENGTHS.size))
        receive(worker, asked_bytes)
        worker.sendall(receive(worker, size_bytes))
        _, (descriptor,), _, _ = socket.recv_fds(worker, 1, 1)
        for size_bytes in (0, 1 << 30):
            try:
                os.ftruncate(descriptor, size_bytes)
            except OSError:
                continue
            return
        worker.sendall(DONE)


if __name__ == "__main__":
    main()
