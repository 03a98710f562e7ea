"""Which role each address needs: the one table. A route that is not in it is for administrators, and fails a test."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from heimdall.api.errors import NotAllowedError
from heimdall.domain.access import Principal, Role

_TRAINING: Final = "/api/v1/training"
_JOB: Final = f"{_TRAINING}/jobs/{{job_id}}"
_DATASET: Final = f"{_TRAINING}/datasets/{{dataset_id}}"
_MODEL: Final = f"{_TRAINING}/models/{{model_id}}"
_VIEWER, _OPERATOR, _ADMIN = Role.VIEWER, Role.OPERATOR, Role.ADMIN

NEEDED_ROLE: Final[dict[tuple[str, str], Role]] = {
    ("GET", f"{_TRAINING}/jobs"): _VIEWER,
    ("POST", f"{_TRAINING}/jobs"): _OPERATOR,
    ("GET", _JOB): _VIEWER,
    ("DELETE", _JOB): _OPERATOR,
    ("POST", f"{_TRAINING}/pause/{{job_id}}"): _OPERATOR,
    ("POST", f"{_TRAINING}/resume/{{job_id}}"): _OPERATOR,
    ("POST", f"{_JOB}/pause"): _OPERATOR,
    ("POST", f"{_JOB}/resume"): _OPERATOR,
    ("POST", f"{_JOB}/continue"): _OPERATOR,
    ("GET", f"{_JOB}/events"): _VIEWER,
    ("GET", f"{_JOB}/logs"): _VIEWER,
    ("GET", f"{_JOB}/metrics"): _VIEWER,
    ("GET", f"{_JOB}/metrics.csv"): _VIEWER,
    ("GET", f"{_TRAINING}/architectures"): _VIEWER,
    ("GET", f"{_TRAINING}/datasets"): _VIEWER,
    ("POST", f"{_TRAINING}/datasets"): _OPERATOR,
    ("POST", f"{_TRAINING}/datasets/preview"): _VIEWER,
    ("GET", _DATASET): _VIEWER,
    ("DELETE", _DATASET): _OPERATOR,
    ("GET", f"{_DATASET}/export"): _VIEWER,
    ("GET", f"{_TRAINING}/models"): _VIEWER,
    # A bundle brings a network made elsewhere: the one thing here that runs what somebody else wrote.
    ("POST", f"{_TRAINING}/models/import"): _ADMIN,
    ("GET", _MODEL): _VIEWER,
    ("PATCH", _MODEL): _OPERATOR,
    ("DELETE", _MODEL): _OPERATOR,
    ("GET", f"{_MODEL}/export"): _VIEWER,
    ("GET", f"{_MODEL}/evaluation"): _VIEWER,
    ("GET", "/api/v1/audit"): _ADMIN,
    ("GET", "/api/v1/whoami"): _VIEWER,
    ("GET", "/api/v1/health/live"): _VIEWER,
    ("GET", "/api/v1/health/ready"): _VIEWER,
    ("GET", "/api/v1/health/warnings"): _VIEWER,
    ("GET", "/health/live"): _VIEWER,
    ("GET", "/health/ready"): _VIEWER,
    ("GET", "/metrics"): _VIEWER,
    ("GET", "/openapi.json"): _VIEWER,
    ("GET", "/ws/training"): _VIEWER,
    ("GET", "/ws/training/{job_id}"): _VIEWER,
    ("GET", "/auth/login"): _VIEWER,
    ("GET", "/auth/callback"): _VIEWER,
    ("POST", "/auth/logout"): _VIEWER,
}
"""Method and path of a route, as FastAPI spells it. A socket counts as GET, HEAD as GET."""


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str], Role], ...]:
    # An address without a variable part comes first: models/import is no model's id.
    ordered = sorted(NEEDED_ROLE.items(), key=lambda item: "{" in item[0][1])
    return tuple((method, re.compile(re.sub(r"\{\w+\}", "[^/]+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}"))), role)
                 for (method, path), role in ordered)  # fmt: skip


def find_needed_role(method: str, path: str) -> Role:
    """Return the role that a request needs; what the table does not know is for administrators."""
    wanted = "GET" if method == "HEAD" else method
    return next((role for known, pattern, role in _patterns() if known == wanted and pattern.fullmatch(path)), Role.ADMIN)


def check_role(principal: Principal, method: str, path: str) -> None:
    """Raise NotAllowedError where the principal's role is not enough."""
    if principal.role is Role.ADMIN:
        return
    needed = find_needed_role(method, path)
    if not principal.role.covers(needed):
        name = principal.name or principal.who
        raise NotAllowedError(f"This needs the role {needed}; {name} is {principal.role}. Ask whoever runs this server for it.")
