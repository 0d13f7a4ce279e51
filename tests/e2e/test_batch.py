"""A hundred pictures in one request, through the running service, back as one ZIP."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.eventually import eventually
from tests.pictures import encoded, natural_picture
from tests.stack import RunningStack, running_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


def test_a_hundred_pictures_go_in_and_come_back(stack: RunningStack) -> None:
    names = [f"picture {n}.{'jpg' if n % 2 else 'png'}" for n in range(98)]
    pictures = [
        (name, encoded(natural_picture(24 + n, 40 - n % 20), "JPEG" if n % 2 else "PNG"))
        for n, name in enumerate(names)
    ]
    damaged = [("cut.png", pictures[0][1][:-30]), ("notes.txt", b"these are no pixels")]
    files = [("image", picture) for picture in [*pictures[:50], *damaged, *pictures[50:]]]
    response = stack.client.post("/upscale/batch", files=files, data={"model": "espcn", "scale": "2"})
    assert response.status_code == 202, response.text
    group: dict[str, Any] = response.json()
    assert group["counts"]["refused"] == 2

    def ended() -> dict[str, Any] | None:
        now: dict[str, Any] = stack.client.get(group["links"]["self"]).json()
        return now if now["ended"] else None

    assert eventually(ended, 120.0)["counts"] == {"succeeded": 98, "refused": 2}
    content = stack.client.get(f"{group['links']['self']}/result").content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        told = json.loads(archive.read("errors.json"))
        assert [(one["index"], one["code"]) for one in told] == [
            (50, "image_truncated"),
            (51, "unsupported_image"),
        ]
        assert len(archive.namelist()) == 99
        for n, name in enumerate(names):
            stem, _, suffix = name.rpartition(".")
            with Image.open(archive.open(f"{stem}_x2.{suffix}")) as result:
                assert result.size == (2 * (24 + n), 2 * (40 - n % 20))
    assert stack.client.delete(group["links"]["self"]).status_code == 204
    assert stack.client.get(group["links"]["self"]).status_code == 404
