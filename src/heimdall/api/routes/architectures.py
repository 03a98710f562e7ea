"""The catalogue of networks."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from heimdall.api.documentation import Route
from heimdall.api.responses import json_response, page_body
from heimdall.api.schemas import ArchitecturePage
from heimdall.domain.catalogue import ARCHITECTURES

router = APIRouter(prefix="/api/v1/training", tags=["architectures"], route_class=Route)


@router.get("/architectures", summary="List the networks on offer", response_model=ArchitecturePage)
async def list_architectures() -> Response:
    """Return the catalogue: what the create dialog offers."""
    return json_response(page_body("architectures", ARCHITECTURES))
