from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.errors import ERROR_KINDS
from service.schemas import UpscaleOptions
from tests.unit.service.conftest import World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def document(world: World) -> dict[str, Any]:
    response = await world.client.get("/openapi.json")
    assert response.status_code == 200
    return dict(response.json())


def responses(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (status, response)
        for path in document["paths"].values()
        for operation in path.values()
        for status, response in operation["responses"].items()
    ]


async def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


async def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    checked = 0

    def check(schema: dict[str, Any], example: object) -> None:
        nonlocal checked
        # Together with the components, to which the schema's references point.
        OAS31Validator({**schema, "components": document["components"]}).validate(example)
        checked += 1

    for name, schema in document["components"]["schemas"].items():
        for example in schema.get("examples", []):
            check({"$ref": f"#/components/schemas/{name}"}, example)
    for _, response in responses(document):
        for content in response.get("content", {}).values():
            for example in content.get("examples", {}).values():
                check(content["schema"], example["value"])
    assert checked > len(ERROR_KINDS)


async def test_every_error_response_is_a_problem(document: dict[str, Any]) -> None:
    for status, response in responses(document):
        if status == "default" or status >= "400":
            assert list(response["content"]) == ["application/problem+json"], (status, response)


async def test_every_code_is_documented_where_it_may_come(document: dict[str, Any]) -> None:
    documented = {
        code
        for _, response in responses(document)
        for content in response.get("content", {}).values()
        for code in content.get("examples", {})
    }
    everywhere = {"not_found", "method_not_allowed", "internal_error"}
    assert {kind.code for kind in ERROR_KINDS} - everywhere <= documented


async def test_operations_have_ids_tags_and_summaries(document: dict[str, Any]) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert sorted(ids) == [
        "deleteGroup",
        "deleteJob",
        "getGroup",
        "getGroupResult",
        "getJob",
        "getJobEvents",
        "getResult",
        "healthz",
        "listJobs",
        "listModels",
        "metrics",
        "readyz",
        "upscale",
        "upscaleBatch",
    ]
    assert all(operation["tags"] and operation["summary"] for operation in operations)
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_the_options_are_documented_for_form_and_query(document: dict[str, Any]) -> None:
    upscale = document["paths"]["/upscale"]["post"]
    options = set(UpscaleOptions.model_fields)
    form = upscale["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"image", *options}
    named = {(parameter["in"], parameter["name"].lower()) for parameter in upscale["parameters"]}
    headers = {("header", "idempotency-key"), ("header", "prefer"), ("header", "cache-control")}
    assert named == {("query", option) for option in options} | headers


async def test_the_page_is_served(world: World) -> None:
    response = await world.client.get("/docs")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
