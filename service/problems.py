"""Errors as problem+json (RFC 9457): the framework's own, the ports' and ours in one form."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from service.errors import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_ALLOWED,
    MODELS_UNAVAILABLE,
    NOT_FOUND,
    QUEUE_UNAVAILABLE,
    STORAGE_UNAVAILABLE,
    ErrorKind,
    ProblemError,
)
from service.schemas import FieldError, Problem
from sr_models.manifest import ManifestError
from worker.contract.blobs import BlobStoreError
from worker.contract.queue import QueueUnavailableError

MEDIA_TYPE = "application/problem+json"

KIND_OF_PORT_ERROR: dict[type[Exception], ErrorKind] = {
    QueueUnavailableError: QUEUE_UNAVAILABLE,
    BlobStoreError: STORAGE_UNAVAILABLE,
    ManifestError: MODELS_UNAVAILABLE,
}
KIND_OF_STATUS = {404: NOT_FOUND, 405: METHOD_NOT_ALLOWED}

logger = logging.getLogger(__name__)


def invalid_request(errors: Sequence[FieldError]) -> ProblemError:
    """The problem for fields that are wrong, missing or unknown."""
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return ProblemError(INVALID_REQUEST, detail, errors=errors)


def install_problem_handlers(app: FastAPI) -> None:
    """Make the app answer every error as problem+json."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    for error_class in KIND_OF_PORT_ERROR:
        app.add_exception_handler(error_class, _on_port_error)
    app.add_exception_handler(Exception, _on_unexpected_error)


def problem_responses(*kinds: ErrorKind) -> dict[int | str, dict[str, Any]]:
    """What a route may answer besides success, for its `responses` in the OpenAPI document."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        content = {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}
        response = by_status.setdefault(
            kind.status,
            {"description": HTTPStatus(kind.status).phrase, "content": {MEDIA_TYPE: content}},
        )
        if kind.retry_after_s is not None:
            response["headers"] = {
                "Retry-After": {
                    "description": "Seconds to wait.",
                    "schema": {"type": "integer", "minimum": 0},
                }
            }
        response["content"][MEDIA_TYPE]["examples"][kind.code] = {
            "summary": kind.title,
            "value": _problem(ProblemError(kind), "/").model_dump(exclude_none=True),
        }
    return by_status


def _problem(error: ProblemError, path: str) -> Problem:
    return Problem.model_validate(
        {
            "type": f"urn:enlarger:error:{error.kind.code}",
            "title": error.kind.title,
            "status": error.kind.status,
            "detail": error.detail,
            "instance": quote(path),
            "code": error.kind.code,
            **error.members,
        }
    )


def _response(request: Request, error: ProblemError) -> JSONResponse:
    headers = dict(error.headers)
    if error.kind.retry_after_s is not None:
        headers.setdefault("Retry-After", str(error.kind.retry_after_s))
    return JSONResponse(
        _problem(error, request.url.path).model_dump(exclude_none=True),
        status_code=error.kind.status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


async def _on_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return _response(request, error)


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = KIND_OF_STATUS.get(error.status_code)
    if kind is None:
        logger.error("the framework refused %s in a way that has no code", request.url.path, exc_info=error)
        kind = INTERNAL_ERROR
    headers = dict(error.headers or {})
    if kind is METHOD_NOT_ALLOWED and (methods := _methods(request)):
        # Starlette names the methods of the first route with that path only.
        headers["Allow"] = ", ".join(methods)
    return _response(request, ProblemError(kind, headers=headers))


def _methods(request: Request) -> list[str]:
    """What the OpenAPI document lets one do at the request's path."""
    paths: dict[str, dict[str, Any]] = request.app.openapi()["paths"]
    return sorted(
        method.upper()
        for template, methods in paths.items()
        if compile_path(template)[0].match(request.url.path)
        for method in methods
    )


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return _response(request, invalid_request(FieldError.all_of(error.errors())))


async def _on_port_error(request: Request, error: Exception) -> JSONResponse:
    kind = next(kind for error_class, kind in KIND_OF_PORT_ERROR.items() if isinstance(error, error_class))
    # Its text may name hosts and folders: that is for the log, not for the client.
    logger.error("%s %s: %s: %s", request.method, request.url.path, kind.code, error)
    return _response(request, ProblemError(kind))


async def _on_unexpected_error(request: Request, error: Exception) -> JSONResponse:
    # Starlette raises it again after the response, so that the server logs it with its traceback.
    return _response(request, ProblemError(INTERNAL_ERROR))
