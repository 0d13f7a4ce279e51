import hashlib
import io
from collections.abc import AsyncIterator

import httpx
import pytest
from PIL import Image

from tests.unit.service.conftest import LIMITS, World
from tests.unit.service.pictures import FORMATS, animated, encoded, flat_png
from worker.contract.jobs import PictureFormat, Priority

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("picture_format", FORMATS)
async def test_a_picture_becomes_a_job(world: World, picture_format: str) -> None:
    picture = encoded(picture_format, 41, 23)
    response = await world.post({"model": "espcn@2", "quality": "80"}, picture, "holiday.bin")
    assert response.status_code == 202
    job_id = response.json()["id"]
    assert response.headers["location"] == f"/jobs/{job_id}"
    assert response.headers["retry-after"] == "1"
    record = world.queue.find(job_id)
    assert record is not None
    assert (record.job.model, record.job.scale, record.job.quality) == ("espcn@2", 4, 80)
    assert record.job.input.format is FORMATS[picture_format]
    assert record.job.output_format is record.job.input.format.kept_as
    assert (record.job.input.width_px, record.job.input.height_px) == (41, 23)
    assert record.job.input.size_bytes == len(picture)
    assert record.job.input.sha256 == hashlib.sha256(picture).hexdigest()
    assert record.job.input.filename == "holiday.bin"
    assert world.blobs.get(record.job.input_key) == picture
    assert response.json()["status"] == "queued"


async def test_ensemble_and_priority_are_the_jobs(world: World) -> None:
    answer = (await world.post({"ensemble": "true", "priority": "bulk"})).json()
    assert (answer["ensemble"], answer["priority"]) == (True, "bulk")
    record = world.queue.find(answer["id"])
    assert record is not None
    assert (record.job.ensemble, record.job.priority) == (True, Priority.BULK)
    answer = (await world.post({})).json()
    assert (answer["ensemble"], answer["priority"]) == (False, "interactive")


async def test_a_raw_body_with_options_in_the_query(world: World) -> None:
    response = await world.client.post(
        "/upscale",
        params={"scale": 2, "format": "jpeg"},
        content=encoded("WEBP"),
        headers={"Content-Type": "image/webp"},
    )
    assert response.status_code == 202
    record = world.queue.find(response.json()["id"])
    assert record is not None
    assert (record.job.scale, record.job.output_format, record.job.model) == (2, PictureFormat.JPEG, "auto")


async def test_options_may_stand_in_the_query_of_a_form_but_not_in_both(world: World) -> None:
    files = {"image": ("a.png", encoded("PNG"))}
    response = await world.client.post("/upscale?scale=3", files=files)
    assert response.json()["scale"] == 3
    response = await world.client.post("/upscale?scale=3", files=files, data={"scale": "2"})
    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": "scale", "message": "Given more than once"}]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"scale": "7"}, "scale"),
        ({"scale": "1"}, "scale"),
        ({"scale": "2.5"}, "scale"),
        ({"scale": "two"}, "scale"),
        ({"scale": "4\0"}, "scale"),
        ({"quality": "0"}, "quality"),
        ({"quality": "101"}, "quality"),
        ({"format": "gif"}, "format"),
        ({"ensemble": "perhaps"}, "ensemble"),
        ({"priority": "urgent"}, "priority"),
        ({"model": "x" * 101}, "model"),
        ({"Scale": "2"}, "Scale"),
        ({"sclae": "2"}, "sclae"),
    ],
)
async def test_a_wrong_option_is_named(world: World, options: dict[str, str], field: str) -> None:
    response = await world.post(options)
    assert response.status_code == 422
    assert response.json()["code"] == "invalid_request"
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert world.queue.waiting() == 0


async def test_the_message_says_what_may_stand_there(world: World) -> None:
    for options, message in (
        ({"scale": "7"}, "Must be 2, 3 or 4"),
        ({"ensemble": "perhaps"}, "Must be true or false"),
    ):
        assert [e["message"] for e in (await world.post(options)).json()["errors"]] == [message]


@pytest.mark.parametrize("model", ["nope", "espcn@9", "../espcn", "espcn\0", "auto@1", "\N{PILE OF POO}"])
async def test_an_unknown_model_lists_those_that_are_known(world: World, model: str) -> None:
    response = await world.post({"model": model})
    assert (response.status_code, response.json()["code"]) == (400, "unknown_model")
    assert response.json()["models"][:4] == ["auto", "bicubic", "espcn", "srgan"]


async def test_a_scale_that_the_model_lacks(world: World) -> None:
    response = await world.post({"model": "srgan", "scale": "2"})
    assert (response.status_code, response.json()["code"]) == (400, "scale_not_available")
    assert response.json()["scales"] == [4]
    response = await world.post({"model": "espcn@2", "scale": "2"})
    assert response.json()["scales"] == [4]


async def test_the_image_field_is_one_file(world: World) -> None:
    picture = encoded("PNG")
    for files, data in [
        ({"picture": ("a.png", picture)}, {}),
        ([("image", ("a.png", picture)), ("image", ("b.png", picture))], {}),
        ([("image", ("a.png", picture)), ("mask", ("b.png", picture))], {}),
        ({"mask": ("b.png", b"")}, {"image": "not a file"}),
    ]:
        response = await world.client.post("/upscale", files=files, data=data)  # type: ignore[arg-type]
        assert (response.status_code, response.json()["code"]) == (422, "invalid_request"), response.text
    assert world.blobs.keys("jobs/") == []


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"--b\r\n\r\n", "multipart/form-data"),
        (b"--other\r\n\r\nx\r\n--other--\r\n", "multipart/form-data; boundary=b"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b"),
        (b"", "multipart/form-data; boundary=b"),
        (b"--b\r\n" + b"x" * 9000, "multipart/form-data; boundary=b"),
        (b"--b", "multipart/form-data; boundary=" + "b" * 300),
        (
            b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nPNG',
            "multipart/form-data; boundary=b",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="sc\xffale"\r\n\r\n2\r\n--b--\r\n',
            "multipart/form-data; boundary=b; charset=undefined",
        ),
    ],
)
async def test_a_malformed_form(world: World, body: bytes, content_type: str) -> None:
    response = await world.client.post("/upscale", content=body, headers={"Content-Type": content_type})
    assert (response.status_code, response.json()["code"]) == (400, "malformed_body"), response.text


async def test_names_with_lone_surrogates_can_be_answered(world: World) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="+2AA-"\r\n\r\n+2AA-\r\n--b--\r\n'
    response = await world.client.post(
        "/upscale", content=body, headers={"Content-Type": "multipart/form-data; boundary=b; charset=utf-7"}
    )
    assert response.status_code == 422


async def test_a_form_whose_end_is_missing_is_not_taken_for_whole(world: World) -> None:
    request = httpx.Request(
        "POST",
        "http://gateway.test/upscale",
        files={"image": encoded("PNG")},
        data={"scale": "2", "model": "espcn"},
    )
    body = request.read()
    cut = body[: body.rindex(b"--", 0, len(body) - 4)]
    response = await world.client.post(
        "/upscale", content=cut, headers={"Content-Type": request.headers["Content-Type"]}
    )
    assert response.json()["code"] == "malformed_body"


async def test_a_chunked_body_is_cut_at_the_limit(world: World) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield bytes(65_536)

    response = await world.client.post("/upscale", content=endless(), headers={"Content-Type": "image/png"})
    assert (response.status_code, response.json()["max_bytes"]) == (413, LIMITS.max_upload_bytes)
    assert sent <= LIMITS.max_upload_bytes + 2 * 65_536


async def test_nothing_is_received_while_the_queue_is_full(world: World) -> None:
    for _ in range(LIMITS.max_queued_jobs):
        await world.accepted()

    asked = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal asked
        asked = True
        yield b"x"

    response = await world.client.post("/upscale", content=body(), headers={"Content-Type": "image/png"})
    assert (response.status_code, response.json()["code"]) == (503, "queue_full")
    assert int(response.headers["retry-after"]) > 0
    assert not asked


async def test_a_huge_file_name_is_shortened(world: World) -> None:
    response = await world.post(filename="é" * 1000 + ".png")
    assert len(response.json()["input"]["filename"].encode()) <= 200
    for response in (await world.post(filename="x" * 5000), await world.post({"model": "x" * 5000})):
        assert (response.status_code, response.json()["code"]) == (400, "malformed_body")


async def test_a_result_wider_than_its_format_allows(world: World) -> None:
    wide = encoded("WEBP", 5000, 4)
    response = await world.post(picture=wide)
    assert (response.status_code, response.json()["code"]) == (400, "result_too_large")
    assert (await world.post({"format": "png"}, wide)).status_code == 202


async def test_a_phone_picture_with_a_second_one_inside_is_no_animation(world: World) -> None:
    file = io.BytesIO()
    first, second = Image.new("RGB", (32, 24), "red"), Image.new("RGB", (32, 24), "blue")
    first.save(file, "MPO", save_all=True, append_images=[second])
    response = await world.post(picture=file.getvalue())
    assert response.status_code == 202, response.text


async def test_a_bomb_is_refused_by_its_header(world: World) -> None:
    for width, height in [(20_000, 20_000), (1001, 1000), (1, 1_000_001)]:
        response = await world.post({"scale": "2"}, flat_png(width, height))
        assert (response.status_code, response.json()["code"]) == (413, "too_many_pixels")
    response = await world.post({"scale": "3"}, flat_png(1000, 900))
    assert response.json()["max_pixels"] == LIMITS.max_output_pixels


async def test_links_stand_behind_a_proxys_prefix(world: World) -> None:
    transport = httpx.ASGITransport(world.app, root_path="/enlarger")
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
        response = await client.post("/enlarger/upscale", files={"image": encoded("PNG")})
        assert response.headers["location"] == response.json()["links"]["self"]
        assert response.headers["location"].startswith("/enlarger/jobs/")


@pytest.mark.parametrize("name", ["JPEG", "jpg", "JPG", "Png"])
async def test_a_format_may_be_named_as_people_do(world: World, name: str) -> None:
    response = await world.post({"format": name})
    assert response.status_code == 202
    record = world.queue.find(response.json()["id"])
    assert record is not None
    assert record.job.output_format == {"p": "png", "j": "jpeg"}[name[0].lower()]


async def test_what_is_wrong_with_an_option_is_said_in_its_own_words(world: World) -> None:
    response = await world.post({"scael": "2", "scale": "7"})
    messages = {error["field"]: error["message"] for error in response.json()["errors"]}
    assert messages == {
        "scael": "No such option; there are: model, scale, width, height, format, quality, sharpen, metadata, colorspace, frames, background, progressive, lossless, ensemble, priority, webhook_url",
        "scale": "Must be 2, 3 or 4",
    }


async def test_the_versions_of_a_model_are_named(world: World) -> None:
    response = await world.post({"model": "espcn@9", "scale": "2"})
    assert response.json()["code"] == "unknown_model"
    assert "espcn@1" in response.json()["models"]


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ({}, 4),
        ({"scale": "3"}, 3),
        ({"width": "80"}, 2),
        ({"height": "61"}, 3),
        ({"width": "121", "height": "2000"}, 4),
        ({"width": "2000", "height": "60"}, 2),
    ],
)
async def test_a_size_is_made_at_the_next_scale_up(world: World, options: dict[str, str], scale: int) -> None:
    job_id = await world.accepted({"model": "espcn", **options})
    record = world.queue.find(job_id)
    assert record is not None
    assert record.job.scale == scale
    finish = record.job.finish
    assert [finish.width_px, finish.height_px] == [
        int(options[n]) if n in options else None for n in ("width", "height")
    ]


async def test_a_picture_on_its_side_is_measured_upright(world: World) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    response = await world.post({"model": "espcn", "width": "60"}, encoded("JPEG", exif=exif))
    assert response.json()["scale"] == 2


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"width": "40"}, "width", "40 x 30 pixels already"),
        ({"height": "12"}, "height", "40 x 30 pixels already"),
        ({"width": "161"}, "width", "at most 160 x 120"),
        ({"model": "srgan", "height": "121"}, "height", "at most 160 x 120"),
        ({"width": "80", "scale": "2"}, "scale", "Give either"),
        ({"width": "0"}, "width", "greater than or equal to 1"),
        ({"sharpen": "1.5"}, "sharpen", "less than or equal to 1"),
        ({"sharpen": "nan"}, "sharpen", "finite"),
        ({"metadata": "some"}, "metadata", "'keep' or 'strip'"),
    ],
)
async def test_what_cannot_be_made_is_said(
    world: World, options: dict[str, str], field: str, words: str
) -> None:
    response = await world.post({"model": "espcn", **options})
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] == field
    assert words in error["message"]


async def test_a_model_that_there_is_not_is_said_before_its_sizes(world: World) -> None:
    response = await world.post({"model": "none", "width": "80"})
    assert response.json()["code"] == "unknown_model"


async def test_other_options_are_another_result(world: World) -> None:
    ids = [
        await world.accepted({"model": "espcn", **o}) for o in ({}, {"sharpen": "0.5"}, {"metadata": "strip"})
    ]
    jobs = [(await world.client.get(f"/jobs/{job_id}")).json() for job_id in ids]
    assert [(job["sharpen"], job["metadata"]) for job in jobs] == [
        (0.0, "keep"),
        (0.5, "keep"),
        (0.0, "strip"),
    ]


@pytest.mark.parametrize(
    ("name", "status"),
    [("model", 202), ("scale", 202), ("quality", 202), ("format", 422), ("sharpen", 422), ("priority", 422)],
)
async def test_only_what_is_filled_in_may_be_left_empty(world: World, name: str, status: int) -> None:
    assert (await world.post({name: ""})).status_code == status


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "TIFF"])
async def test_several_pictures_are_refused_unless_asked_for(world: World, name: str) -> None:
    several = animated(name)
    answer = await world.post({}, several)
    assert (answer.status_code, answer.json()["code"]) == (415, "picture_animated")
    assert "2 frames" in answer.json()["detail"]
    for asked, frames in (("first", 1), ("all", 2)):
        answer = await world.post({"frames": asked}, several)
        assert answer.status_code == 202
        assert answer.json()["input"]["frames"] == frames
        assert answer.json()["frames"] == asked


@pytest.mark.parametrize(
    ("name", "output"), [("GIF", "jpeg"), ("TIFF", "jpeg"), ("TIFF", "png"), ("TIFF", "webp")]
)
async def test_what_cannot_hold_them_is_said_at_once(world: World, name: str, output: str) -> None:
    answer = await world.post({"frames": "all", "format": output}, animated(name))
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["format"]
    assert (await world.post({"frames": "first", "format": output}, animated(name))).status_code == 202


async def test_how_it_is_to_look_is_the_jobs(world: World) -> None:
    options = {
        "background": "#102030",
        "progressive": "true",
        "lossless": "true",
        "colorspace": "srgb",
        "width": "50",
    }
    answer = (await world.post(options)).json()
    assert (answer["background"], answer["progressive"], answer["lossless"]) == ("#102030", True, True)
    assert (answer["colorspace"], answer["width"], answer["height"]) == ("srgb", 50, None)
    for wrong in ({"background": "white"}, {"colorspace": "p3"}, {"frames": "2"}):
        assert (await world.post(wrong)).status_code == 422
