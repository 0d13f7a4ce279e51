"""What one would write without us, in ten lines: an upload goes to a file, and that is all."""

import os
import shutil
import uuid
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Form, UploadFile
from fastapi.concurrency import run_in_threadpool

FOLDER = Path(os.environ.get("MINIMAL_APP_FOLDER", "."))

app = FastAPI()


@app.post("/upscale", status_code=202)
async def upscale(image: UploadFile, scale: Annotated[int, Form()] = 4) -> dict[str, str]:
    name = uuid.uuid4().hex

    def write() -> None:
        with (FOLDER / name).open("wb") as file:
            shutil.copyfileobj(image.file, file)

    await run_in_threadpool(write)
    return {"id": name}
