"""Memory grows with the result's canvas, not with what the network computes on the way."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pictures import encoded, natural_picture

PEAK_AFTER = """
import re, sys
from pathlib import Path
from worker.contract.jobs import PictureFormat
from worker.pipeline import Pipeline, UpscaleRequest

with Pipeline(device="cpu", batch_px=192 * 192) as pipeline:
    for path in sys.argv[1:]:
        content = Path(path).read_bytes()
        pipeline.submit(UpscaleRequest(content, "espcn", 4, PictureFormat.JPEG)).result()
        # Not getrusage: what it says of a process begins with its parent's.
        print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1] + "000")
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_huge_picture_takes_little_more_than_its_canvas(tmp_path: Path) -> None:
    """The untiled network would need 64 features of 4 bytes for each LR pixel in every layer: 16 times the input's canvas."""
    for name, width_px, height_px in (("small", 600, 500), ("large", 2400, 2000)):
        (tmp_path / name).write_bytes(encoded(natural_picture(width_px, height_px), "JPEG"))
    command = [sys.executable, "-c", PEAK_AFTER, str(tmp_path / "small"), str(tmp_path / "large")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    small_bytes, large_bytes = map(int, told)
    canvas_bytes = 3 * 16 * 2400 * 2000
    assert canvas_bytes < large_bytes - small_bytes < 2.5 * canvas_bytes
