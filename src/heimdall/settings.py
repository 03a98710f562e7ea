"""Typed settings from the environment (``HEIMDALL_*``); ``heimdall config`` prints this table."""

from __future__ import annotations

import ipaddress
import os
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from heimdall.domain.access import Role
from heimdall.domain.errors import InvalidInputError


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "heimdall"


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


MIN_TOKEN_LENGTH = 16
"""Characters; shorter ones can be guessed where others may try."""


def is_safe_url(url: str) -> bool:
    """Return whether nobody on the way can change what the URL answers: https, or this very machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))


class Settings(BaseSettings):
    """One field per switch. The defaults are the embedded size: no server to install."""

    model_config = SettingsConfigDict(env_prefix="HEIMDALL_", frozen=True, extra="ignore")

    data_dir: Path = Field(default_factory=_default_data_dir, description="Folder of database, artifacts and embedded broker.")
    host: str = Field(default="127.0.0.1", description="Address to listen on. Beyond loopback a token or OIDC is required.")
    port: int = Field(default=8001, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    url: str | None = Field(default=None, description="Server that the command line talks to; default http://HOST:PORT.")
    token: SecretStr | None = Field(
        default=None, description="Bearer token, for administrators; 16 characters or more. Needed beyond loopback where OIDC is not used."
    )
    oidc_url: str | None = Field(default=None, description="OpenID Connect provider: issuer URL, or that of its discovery document.")
    oidc_client_id: str | None = Field(default=None, description="Client id at the provider; needed with HEIMDALL_OIDC_URL.")
    oidc_client_secret: SecretStr | None = Field(default=None, description="Client secret; a public client with PKCE needs none.")
    oidc_audience: str | None = Field(default=None, description="Audience of bearer tokens for the API; default: the client id.")
    oidc_scope: str = Field(default="openid profile email", description="Scopes asked for at the sign-in.")
    oidc_role_claim: str = Field(default="roles", description="Claim that holds roles or groups; a dot leads into an object.")
    oidc_roles: dict[str, Role] = Field(
        default={"viewer": Role.VIEWER, "operator": Role.OPERATOR, "admin": Role.ADMIN},
        description="Value of that claim to role (viewer, operator, admin), as JSON object.",
    )
    oidc_default_role: Role | None = Field(default=None, description="Role of whom the claim gives none; default: no entry.")
    session_hours: float = Field(default=8.0, ge=0.1, le=720, description="h that a sign-in by OIDC lasts.")
    session_secret: SecretStr | None = Field(
        default=None, min_length=32, description="Signs the sign-in cookie; set it where several servers share the users."
    )
    public_url: str | None = Field(default=None, description="Address of this server in the browser, where a proxy stands before it.")
    allowed_origins: tuple[str, ...] = Field(default=(), description="Further Origins the browser may come from, as JSON list.")
    allowed_hosts: tuple[str, ...] = Field(default=(), description="Further Host names the server answers to, as JSON list.")
    database_url: str | None = Field(default=None, description="postgresql://…; default: SQLite in the data folder.")
    broker_url: str | None = Field(default=None, description="amqp://… or redis://…; default: embedded, in the data folder.")
    queue_prefix: str = Field(
        default="heimdall",
        pattern=r"^[A-Za-z0-9_-]{1,50}$",
        description="First part of the queues' names; keeps installations on one broker apart.",
    )
    artifacts_url: str | None = Field(default=None, description="s3://bucket/prefix; default: a folder in the data folder.")
    terrain_folder: Path | None = Field(default=None, description="SRTM tiles (.hgt) or GeoTIFF files for data sets over terrain.")
    frontend_dir: Path | None = Field(default=None, description="Built page; default: the one that came with the program.")
    worker_slots: int = Field(default=2, ge=1, le=64, description="Jobs that one worker trains at the same time.")
    worker_queues: tuple[Literal["cpu", "gpu", "dataset"], ...] = Field(
        default=("cpu", "gpu", "dataset"), description="Queues this worker serves, as JSON list."
    )
    torch_threads: int = Field(default=0, ge=0, le=256, description="CPU threads per job; 0: processors / slots, at least 1.")
    lease_s: float = Field(default=10.0, ge=1, le=600, description="s, how long a job outlives its worker's last heartbeat.")
    heartbeat_s: float = Field(default=2.0, ge=0.1, le=60, description="s between heartbeats.")
    control_poll_s: float = Field(default=0.1, ge=0.1, le=5, description="s between looks for pause and cancel.")
    checkpoint_gap_s: float = Field(
        default=2.0,
        ge=0,
        le=3600,
        description="s at least between checkpoints at ends of epochs; a pause and the last epoch always make one.",
    )
    stop_grace_s: float = Field(default=8.0, ge=0.5, le=600, description="s a loop may take to obey before it is ended.")
    silence_notice_s: float = Field(default=45.0, ge=1, le=86400, description="s without one optimizer step before a running job says so.")
    stall_timeout_s: float = Field(default=600.0, ge=5, le=86400, description="s without one optimizer step before a job counts as hung.")
    max_attempts: int = Field(default=5, ge=1, le=100, description="Attempts lost in a row, without one epoch, before a job fails.")
    sweep_s: float = Field(default=2.0, ge=0.1, le=60, description="s between looks for expired leases and unsent messages.")
    enqueue_doubt_s: float = Field(default=5.0, ge=0.5, le=600, description="s before a pending job is sent again; doubles up to 60.")
    keep_checkpoints_days: float = Field(
        default=90.0,
        ge=0,
        le=36500,
        description="Days that checkpoints of ended jobs are kept; 0: for ever. Without one a job cannot be continued.",
    )
    keep_logs_days: float = Field(default=0.0, ge=0, le=36500, description="Days that log lines of ended jobs are kept; 0: for ever.")
    keep_log_lines: int = Field(default=100_000, ge=0, le=100_000_000, description="Newest log lines kept of each job; 0: all of them.")
    disk_quota_mb: int = Field(
        default=0, ge=0, le=10**9, description="MB that the data folder may hold before new jobs and imports are refused; 0: no quota."
    )
    disk_warn_percent: float = Field(default=90.0, gt=0, le=100, description="Share of the quota, in percent, from which on it is warned.")
    disk_warn_free_mb: int = Field(default=1000, ge=0, le=10**9, description="MB free on the data folder's disk below which it is warned.")
    busy_timeout_s: float = Field(default=10.0, ge=0.1, le=120, description="s to wait for a locked database.")
    max_upload_mb: int = Field(default=2048, ge=1, le=1_000_000, description="MB, largest bundle or data file taken.")
    max_json_kb: int = Field(default=256, ge=16, le=65536, description="kB, largest JSON body taken.")
    max_creates_per_minute: int = Field(
        default=1200, ge=0, le=1_000_000, description="Creates and imports a minute and client; 0: no limit."
    )
    max_imports_per_minute: int = Field(default=60, ge=0, le=1_000_000, description="Imports of bundles a minute and client; 0: no limit.")
    max_imports_at_once: int = Field(default=2, ge=1, le=64, description="Bundles verified at the same time; the rest wait.")
    import_patience_s: float = Field(default=30.0, ge=0.1, le=600, description="s that an import waits for its turn before 429.")
    verify_memory_mb: int = Field(default=4096, ge=256, le=1_000_000, description="MB of address space for the verifying child.")
    verify_timeout_s: float = Field(default=60.0, ge=1, le=3600, description="s of wall time for the verifying child.")
    socket_buffer_events: int = Field(default=1000, ge=10, le=100_000, description="Events waiting for one slow socket client.")
    log_format: Literal["line", "json"] = Field(default="line", description="One readable line per event, or JSON.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least important level logged.")
    otel_endpoint: str | None = Field(
        default=None, description="OTLP/HTTP address that takes traces, like http://127.0.0.1:4318; default: none."
    )
    seed_demo: bool = Field(default=True, description="Make the demo data set on first start.")

    @field_validator("data_dir")
    @classmethod
    def _make_absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @cached_property
    def resolved_database_url(self) -> str:
        """URL for SQLAlchemy; a bare ``postgresql://`` takes the psycopg driver."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir / 'heimdall.sqlite'}"
        return self.database_url.replace("postgresql://", "postgresql+psycopg://", 1)

    @property
    def is_embedded_database(self) -> bool:
        """True on SQLite."""
        return self.resolved_database_url.startswith("sqlite")

    @property
    def resolved_artifacts_url(self) -> str:
        """URL or folder for fsspec."""
        return self.artifacts_url or str(self.data_dir / "artifacts")

    @property
    def resolved_url(self) -> str:
        """Where the command line finds the server."""
        return (self.url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def resolved_torch_threads(self) -> int:
        """CPU threads of one job."""
        return self.torch_threads or max(1, (os.cpu_count() or 1) // self.worker_slots)

    @property
    def frontend_places(self) -> tuple[Path, ...]:
        """Where the built page may lie: the folder set, or this checkout's, or the one that came with the package."""
        package = Path(__file__).resolve().parent
        return (self.frontend_dir,) if self.frontend_dir else (package.parents[1] / "frontend" / "dist", package / "_frontend")

    def find_frontend(self) -> Path | None:
        """Return the folder of the built page, or None where it was not built."""
        return next((folder for folder in self.frontend_places if (folder / "index.html").is_file()), None)

    @property
    def has_short_token(self) -> bool:
        """Whether the token could be guessed."""
        return self.token is not None and len(self.token.get_secret_value()) < MIN_TOKEN_LENGTH

    def check_exposure(self) -> None:
        """Refuse to listen where others could come without a token or a sign-in, or guess the token.

        Raises
        ------
        InvalidInputError
            With the fix in the sentence.
        """
        if self.token is not None and not self.token.get_secret_value():
            detail = "HEIMDALL_TOKEN is empty. Set it to a long random text, or unset it."
            raise InvalidInputError(detail, field="token", code="token_needed")
        if self.oidc_url is not None and not self.oidc_client_id:
            detail = "HEIMDALL_OIDC_URL is set without HEIMDALL_OIDC_CLIENT_ID. Set the client id that the provider gave this server."
            raise InvalidInputError(detail, field="oidc_client_id", code="client_id_needed")
        if self.oidc_url is not None and not is_safe_url(self.oidc_url):
            detail = "HEIMDALL_OIDC_URL must begin with https://: over http anybody on the way could say who comes in."
            raise InvalidInputError(detail, field="oidc_url", code="https_needed")
        if self.has_short_token and not is_loopback(self.host):
            detail = (
                f"HEIMDALL_TOKEN is shorter than {MIN_TOKEN_LENGTH} characters: listening on {self.host or 'all addresses'}, others could "
                "guess it. Make a long one: export HEIMDALL_TOKEN=$(openssl rand -hex 32)."
            )
            raise InvalidInputError(detail, field="token", code="token_too_short")
        if self.token is None and self.oidc_url is None and not is_loopback(self.host):
            raise InvalidInputError(
                f"Listening on {self.host or 'all addresses'} lets other machines in, and no token is set. Set one first, for example: "
                "export HEIMDALL_TOKEN=$(openssl rand -hex 32), or name your OpenID Connect provider with HEIMDALL_OIDC_URL and "
                "HEIMDALL_OIDC_CLIENT_ID, or listen on 127.0.0.1.",
                field="host",
                code="token_needed",
            )
