"""What two processes say to each other comes whole, in time, or not at all."""

import socket
import time
from collections.abc import Iterator

import pytest

from worker.contract.jobs import InputFormat, Note
from worker.decoder_wire import (
    ANSWER,
    MAX_ANSWER_BYTES,
    MAX_MESSAGE_CHARS,
    MAX_SIDE_PX,
    DecodedAnswer,
    RefusedAnswer,
    receive,
)

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_what_comes_in_pieces_is_received_whole(pair: Pair) -> None:
    ours, theirs = pair
    for piece in (b"ab", b"c", b"defg"):
        theirs.sendall(piece)
    assert receive(ours, 5, time.monotonic() + 60) == b"abcde"
    assert receive(ours, 2) == b"fg"
    assert receive(ours, 0) == b""


def test_a_side_that_closes_is_noticed(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(b"ab")
    theirs.close()
    with pytest.raises(EOFError):
        receive(ours, 3)


def test_a_deadline_that_has_passed_is_kept_though_bytes_have_come(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(b"abc")
    with pytest.raises(TimeoutError):
        receive(ours, 3, time.monotonic() - 1)


def test_silence_ends_at_the_deadline(pair: Pair) -> None:
    with pytest.raises(TimeoutError):
        receive(pair[0], 1, time.monotonic() + 0.05)


@pytest.mark.parametrize(
    "answer",
    [
        DecodedAnswer(
            format=InputFormat.WEBP,
            width_px=MAX_SIDE_PX,
            height_px=MAX_SIDE_PX,
            durations_ms=[65_535] * 100_000,
            bits=16,
            has_alpha=True,
            grey=False,
            gamma=0.45455,
            dpi=(72.0, 300.0),
            loops=3,
            notes=tuple(Note),
            attached_bytes=(2**63, 2**63, None, 0),
        ),
        RefusedAnswer(code="picture_unsupported", message="\x00" * MAX_MESSAGE_CHARS),
        RefusedAnswer(code="picture_unsupported", message="\N{PILE OF POO}" * MAX_MESSAGE_CHARS),
    ],
)
def test_the_longest_answers_are_not_too_long(answer: DecodedAnswer | RefusedAnswer) -> None:
    encoded = answer.model_dump_json().encode()
    assert len(encoded) <= MAX_ANSWER_BYTES
    assert ANSWER.validate_json(encoded) == answer


def test_alpha_frames_and_depth_multiply_the_samples() -> None:
    answer = DecodedAnswer(
        format=InputFormat.PNG,
        width_px=5,
        height_px=4,
        durations_ms=[40, 40, 80],
        bits=16,
        has_alpha=True,
        grey=True,
        gamma=None,
        dpi=None,
        loops=0,
        notes=(),
        attached_bytes=(None, None, None, None),
    )
    assert answer.shape == (6, 4, 5, 3)
    assert answer.samples_bytes == 6 * 4 * 5 * 3 * 2
