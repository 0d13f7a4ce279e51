"""The page at /docs: the OpenAPI document to read and to try, by Swagger UI, without a file from another host."""

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

ASSETS_PATH = "/docs/assets"


def assets() -> StaticFiles:
    """Swagger UI's files, as the fastapi-swagger wheel carries them."""
    return StaticFiles(packages=[("fastapi_swagger", "resources")])


def reference_router() -> APIRouter:
    """The route of the page."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    def reference(request: Request) -> HTMLResponse:
        root_path = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root_path}/openapi.json",
            title="Enlarger",
            swagger_js_url=f"{root_path}{ASSETS_PATH}/swagger-ui-bundle.js",
            swagger_css_url=f"{root_path}{ASSETS_PATH}/swagger-ui.css",
            swagger_favicon_url=f"{root_path}{ASSETS_PATH}/favicon-32x32.png",
            swagger_ui_parameters={"tryItOutEnabled": True},
        )

    return router
