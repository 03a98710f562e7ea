"""The one exception tree.

Borders translate: adapters map library errors into these classes, ``api/errors.py`` maps the
classes to HTTP answers in one table. Every message is a plain sentence that says what to do next.
"""

from __future__ import annotations


class HeimdallError(Exception):
    """Base of everything Heimdall raises on purpose.

    Parameters
    ----------
    detail
        One plain sentence for a person.
    field
        The request field or JSON path at fault, if one is.
    code
        Machine-readable name; defaults to the class's own.
    """

    code = "error"

    def __init__(self, detail: str, *, field: str | None = None, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        if code is not None:
            self.code = code


class NotFoundError(HeimdallError):
    """No such job, data set, model or architecture."""

    code = "not_found"


class ConflictError(HeimdallError):
    """The request is well formed but does not fit the present state."""

    code = "conflict"


class IllegalTransitionError(ConflictError):
    """A job cannot go from its present state to the one asked for; the message names both."""

    code = "illegal_transition"


class LeaseLostError(ConflictError):
    """The worker no longer owns the job: another attempt does, or the job is final."""

    code = "lease_lost"


class InvalidInputError(HeimdallError):
    """A value is out of range, of the wrong type or does not fit the others."""

    code = "invalid_input"


class BundleError(InvalidInputError):
    """A ``.heimdall`` file failed a check; ``code`` names the check, ``field`` the JSON path."""

    code = "bundle_invalid"


class TooLargeError(HeimdallError):
    """A body or file is larger than the limit, which the message names."""

    code = "too_large"


class UnsupportedMediaError(HeimdallError):
    """Not a kind of file or body that this route reads."""

    code = "unsupported_media"


class UnavailableError(HeimdallError):
    """A dependency (database, broker, disk) does not answer now; the same request may work later."""

    code = "unavailable"


class LockedError(UnavailableError):
    """Someone else holds the database's write lock for longer than was waited for."""

    code = "locked"


class StorageFullError(UnavailableError):
    """The disk is full; nothing half-written was kept."""

    code = "storage_full"


class CheckpointError(HeimdallError):
    """A checkpoint does not match its hash, its config or its data set. Training never restarts silently."""

    code = "checkpoint_invalid"


class CheckpointDamagedError(CheckpointError):
    """A checkpoint's bytes are gone or not those that were written; the one before may still be good."""

    code = "checkpoint_damaged"


class TrainingError(HeimdallError):
    """Training stopped for a reason named in the message (non-finite loss, no examples, parity failure)."""

    code = "training_failed"


class AuthenticationError(HeimdallError):
    """A token is needed and was missing or wrong."""

    code = "unauthenticated"


class RateLimitedError(HeimdallError):
    """Too many requests of this kind; try again after the time named."""

    code = "rate_limited"
