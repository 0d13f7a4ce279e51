"""Damaged pictures, sent to the running service: each is refused, or ends as a job, and nothing breaks."""

import os
import random
from collections import Counter
from pathlib import Path

from tests.fuzz.conftest import FULL
from tests.pictures import encoded, natural_picture
from tests.stack import RunningStack

UPLOADS = 7000 if FULL else 60
WAITING_AT_MOST = 200
"""Jobs that are not looked after yet: the service refuses more than a thousand."""
MEMORY_GROWTH = 1.10
"""Of all processes together, from a fifth of the uploads to the end."""
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "AVIF", "JPEG2000")


def damaged(originals: list[bytes], chance: random.Random) -> bytes:
    """A picture with one thing wrong, or several."""
    content = bytearray(chance.choice(originals))
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        kind = chance.choice(("flip", "header", "cut", "splice", "repeat", "noise"))
        if kind == "flip":
            for _ in range(chance.choice((1, 3, 20))):
                content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        elif kind == "header":
            content[chance.randrange(min(64, len(content)))] = chance.randrange(256)
        elif kind == "cut":
            del content[chance.randrange(1, len(content) + 1) :]
        elif kind == "splice":
            other = chance.choice(originals)
            at = chance.randrange(min(200, len(content)))
            content[:at] = other[:at]
        elif kind == "repeat":
            begin = chance.randrange(len(content))
            content[begin:begin] = content[begin : begin + chance.randrange(1, 64)]
        else:
            begin = chance.randrange(len(content))
            content[begin : begin + 16] = chance.randbytes(16)
        if not content:
            break
    return bytes(content)


def ended(stack: RunningStack, jobs: list[str]) -> Counter[str]:
    """How the jobs ended."""
    return Counter(stack.ended_job(job)["status"] for job in jobs)


def resident_bytes(pid: int) -> int:
    """The memory of a process and of all that it started."""
    process = Path(f"/proc/{pid}")
    own = int((process / "status").read_text().partition("VmRSS:")[2].split()[0]) * 1024
    threads = (process / "task").iterdir()
    children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    return own + sum(map(resident_bytes, children))


def test_no_damaged_picture_breaks_anything(stack: RunningStack) -> None:
    seed = int(os.environ.get("ENLARGER_FUZZ_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"ENLARGER_FUZZ_SEED={seed}")
    chance = random.Random(seed)
    originals = [encoded(natural_picture(48, 36, seed=1), file_format) for file_format in FORMATS]
    answers: Counter[int] = Counter()
    outcomes: Counter[str] = Counter()
    jobs: list[str] = []
    early_bytes = 0
    for number in range(UPLOADS):
        content = damaged(originals, chance)
        answer = stack.client.post(
            "/upscale",
            files={"image": ("picture", content)},
            data={"model": "bicubic", "scale": "2"},
            headers={"Cache-Control": "no-cache"},
        )
        answers[answer.status_code] += 1
        assert answer.status_code in (202, 400, 413, 415), answer.text
        if answer.status_code == 202:
            jobs.append(answer.headers["Location"])
        if len(jobs) == WAITING_AT_MOST or number in (UPLOADS // 5, UPLOADS - 1):
            outcomes += ended(stack, jobs)
            jobs.clear()
        if number == UPLOADS // 5:
            early_bytes = resident_bytes(stack.process.pid)
    assert answers[202], "no upload was accepted: nothing was shown"
    assert answers[202] < UPLOADS, "no upload was refused: nothing was shown"
    assert set(outcomes) <= {"succeeded", "failed"}
    assert "Traceback" not in stack.log
    if FULL:
        assert resident_bytes(stack.process.pid) <= early_bytes * MEMORY_GROWTH
    print(dict(answers), dict(outcomes))
