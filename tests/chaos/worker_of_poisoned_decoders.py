"""`python -m tests.chaos.worker_of_poisoned_decoders`: the worker, on whose decoder processes poisons work."""

import functools

import worker.__main__
from worker.decoder import DecoderPool

if __name__ == "__main__":
    worker.__main__.DecoderPool = functools.partial(DecoderPool, module="tests.poisoned_decoder")  # type: ignore[attr-defined, assignment]
    worker.__main__.main()
