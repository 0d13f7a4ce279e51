"""A client that a generator makes of the OpenAPI document alone upscales a picture."""

import importlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.pictures import encoded, natural_picture
from tests.stack import running_stack

PACKAGE = "generated_enlarger_client"


def generate(document: bytes, folder: Path) -> None:
    """Put the client's package into the folder."""
    (folder / "openapi.json").write_bytes(document)
    programs = Path(sys.executable).parent
    run = subprocess.run(
        [
            str(programs / "openapi-python-client"),
            "generate",
            "--path=openapi.json",
            "--meta=none",
            f"--output-path={PACKAGE}",
        ],
        cwd=folder,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},  # it formats by ruff
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Endpoint will not be generated" not in run.stdout


def test_it_upscales_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_stack(tmp_path / "data") as stack:
        generate(stack.client.get("/openapi.json").content, tmp_path)
        compiled = subprocess.run(
            [sys.executable, "-m", "compileall", "-q", PACKAGE], cwd=tmp_path, check=False
        )
        assert compiled.returncode == 0
        monkeypatch.syspath_prepend(tmp_path)

        def part(name: str) -> Any:
            return importlib.import_module(f"{PACKAGE}.{name}")

        picture = part("types").File(io.BytesIO(encoded(natural_picture(40, 30), "PNG")), "photo.png")
        body = part("models").UpscaleFilesBody(image=picture, model="espcn", scale=2)
        with part("client").Client(base_url=str(stack.client.base_url)) as client:
            job = part("api.jobs.upscale").sync(client=client, body=body, prefer="wait=30")
            assert isinstance(job, part("models").Job), job
            assert job.status == "succeeded"
            assert (job.result.width, job.result.height) == (80, 60)
            again = part("api.jobs.get_job").sync(job.id, client=client)
            assert again == job
            # This generator knows no answers that are pictures: it leaves them to its HTTP client.
            result = client.get_httpx_client().get(job.result.url)
        with Image.open(io.BytesIO(result.content)) as enlarged:
            assert enlarged.size == (80, 60)
