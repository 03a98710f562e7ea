"""Who may do what: three roles, each of which may everything that the one before it may, and the one who asks."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from heimdall.domain.base import Entity

Means = Literal["loopback", "token", "oidc", "system"]


class Role(StrEnum):
    """Viewers read; operators also create, steer and delete; administrators also bring in foreign networks and read the audit log."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Return whether this role may what ``needed`` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Principal(Entity):
    """One who asks, as far as the server could prove it."""

    who: str = Field(description="subject of the identity provider, `token` for the one token, `loopback` where none is needed")
    role: Role
    means: Means = Field(description="how it was proven")
    name: str | None = Field(default=None, description="what the identity provider calls the subject, for people")


LOOPBACK = Principal(who="loopback", role=Role.ADMIN, means="loopback")
"""Whoever reaches a server that listens on this machine alone and has no token."""

TOKEN_HOLDER = Principal(who="token", role=Role.ADMIN, means="token")
"""Whoever knows ``HEIMDALL_TOKEN``."""

SYSTEM = Principal(who="system", role=Role.ADMIN, means="system")
"""Heimdall itself: no request led to it."""
