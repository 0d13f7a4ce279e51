"""The page at /docs: the OpenAPI document to read and to try, by Swagger UI, without a file from another host."""

import json

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

ASSETS_PATH = "/docs/assets"
START_PATH = "/docs/start.js"

# Swagger UI sets styles on its elements, and has its icons as data.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Enlarger</title>
<link rel="icon" href="{assets}/favicon-32x32.png">
<link rel="stylesheet" href="{assets}/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{assets}/swagger-ui-bundle.js"></script>
<script src="{start}"></script>
</body>
</html>
"""


def assets() -> StaticFiles:
    """Swagger UI's files, as the fastapi-swagger wheel carries them."""
    return StaticFiles(packages=[("fastapi_swagger", "resources")])


def reference_router() -> APIRouter:
    """The routes of the page, and of the script that starts it: a policy without inline scripts keeps strangers' out."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    def reference(request: Request) -> HTMLResponse:
        root_path = request.scope.get("root_path", "")
        page = PAGE.format(assets=f"{root_path}{ASSETS_PATH}", start=f"{root_path}{START_PATH}")
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    @router.get(START_PATH)
    def start(request: Request) -> Response:
        options = {
            "url": f"{request.scope.get('root_path', '')}/openapi.json",
            "dom_id": "#swagger-ui",
            "deepLinking": True,
            "tryItOutEnabled": True,
        }
        script = f"SwaggerUIBundle({json.dumps(options)});\n"
        return Response(script, media_type="text/javascript")

    return router
