"""Schemathesis asks the running service whatever its own OpenAPI document allows, and much that it does not."""

import subprocess
import sys
from pathlib import Path

from tests.fuzz.conftest import FULL
from tests.stack import RunningStack

EXAMPLES = 300 if FULL else 10
"""For each operation in each phase: about three thousand requests, or a few hundred."""
SCHEMATHESIS_TIMEOUT_S = 1800.0

NOT_CHECKED = {
    # A schema of JSON cannot say which bytes are a picture, nor which text is a cursor.
    "positive_data_acceptance",
    # DELETE of a job that waits cancels it, and its record says so until it is deleted too.
    "use_after_free",
}


def test_every_answer_is_one_that_the_document_promises(stack: RunningStack, tmp_path: Path) -> None:
    url = str(stack.client.base_url).rstrip("/")
    run = subprocess.run(
        [
            str(Path(sys.executable).parent / "st"),
            "run",
            f"{url}/openapi.json",
            f"--url={url}",
            f"--max-examples={EXAMPLES}",
            f"--exclude-checks={','.join(sorted(NOT_CHECKED))}",
            "--request-timeout=60",
            "--continue-on-failure",
            "--suppress-health-check=all",
            "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SCHEMATHESIS_TIMEOUT_S,
        check=False,
    )
    requests = stack.log.count(' HTTP/1.1" ')
    print(f"{requests} requests\n{run.stdout[-3000:]}")
    assert run.returncode == 0, run.stdout + run.stderr
    assert stack.process.poll() is None
    assert "Traceback" not in stack.log
    assert stack.client.get("/readyz").status_code == 200
