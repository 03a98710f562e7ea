"""The routes, one module per noun; each route's path is written whole, so that all of them lie in one flat list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heimdall.api.routes import architectures, audit, auth, datasets, health, jobs, metrics, models

if TYPE_CHECKING:
    from fastapi import FastAPI


def add_api_routes(app: FastAPI) -> None:
    """Add every route of the contract.

    Not by ``include_router``: its tree of routers is searched anew for each request and keeps the full path to itself.
    """
    for module in (jobs, metrics, models, datasets, architectures, audit, auth, health):
        app.router.routes.extend(module.router.routes)
