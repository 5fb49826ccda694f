"""Google's error shapes: HTTP status, reason and message."""

from __future__ import annotations

from typing import Any

LOCAL_ERROR = "localError"
"""A fault of this server. Not Google's ``internalError``: Google's clients repeat that for minutes, and here it
would come again.
"""

_STATUS_OF_REASON = {
    "invalid": 400,
    "invalidQuery": 400,
    "required": 400,
    "stopped": 400,
    "resourcesExceeded": 400,
    "resourceInUse": 400,
    "accessDenied": 403,
    "notFound": 404,
    "duplicate": 409,
    "conditionNotMet": 412,
    "backendError": 503,
    LOCAL_ERROR: 500,
    "notImplemented": 501,
}
_CANONICAL_NAME = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}


class BigQueryError(Exception):
    """An error as BigQuery reports it.

    :param reason: one of the reasons of https://cloud.google.com/bigquery/docs/error-messages, for example
        ``notFound``.
    :param message: the text a client shows.
    :param location: ``query`` for an error of the SQL, a field or table name otherwise. Default: none.
    """

    def __init__(self, reason: str, message: str, location: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.location = location

    @property
    def status(self) -> int:
        """The HTTP status that goes with the reason."""
        return _STATUS_OF_REASON[self.reason]

    def proto(self) -> dict[str, str]:
        """The ``ErrorProto`` of a job's ``status.errorResult``."""
        proto = {"reason": self.reason, "message": self.message}
        if self.location:
            proto["location"] = self.location
        return proto

    def body(self) -> dict[str, Any]:
        """The JSON body of the HTTP response."""
        return {
            "error": {
                "code": self.status,
                "message": self.message,
                "errors": [{"domain": "global", **self.proto()}],
                "status": _CANONICAL_NAME[self.status],
            }
        }

    @classmethod
    def from_proto(cls, proto: dict[str, str]) -> BigQueryError:
        """The error that a finished job recorded."""
        return cls(proto["reason"], proto["message"], proto.get("location"))


def invalid(message: str, location: str | None = None) -> BigQueryError:
    """A request that makes no sense: 400 ``invalid``."""
    return BigQueryError("invalid", message, location)


def invalid_query(message: str) -> BigQueryError:
    """An error of the SQL: 400 ``invalidQuery``."""
    return BigQueryError("invalidQuery", message, "query")


def not_found(kind: str, name: object) -> BigQueryError:
    """404 ``notFound``, worded as BigQuery words it: ``Not found: Table p:d.t``."""
    return BigQueryError("notFound", f"Not found: {kind} {name}")


def already_exists(kind: str, name: object) -> BigQueryError:
    """409 ``duplicate``: ``Already Exists: Table p:d.t``."""
    return BigQueryError("duplicate", f"Already Exists: {kind} {name}")


def unsupported(what: str, *, query: bool = True) -> BigQueryError:
    """What BigQuery can and this server can't.

    :param query: True for SQL (400 ``invalidQuery``, so that clients don't retry), False for the REST API (501).
    """
    message = f"not supported by the local BigQuery: {what}"
    return invalid_query(message) if query else BigQueryError("notImplemented", message)
