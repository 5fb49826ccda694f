"""Errors as Kubernetes reports them: a ``Status`` object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cause:
    """One thing wrong with an object.

    :param field: its path: ``spec.containers[0].name``.
    :param message: what is wrong with it.
    """

    field: str
    message: str


class ApiError(Exception):
    """An answer other than success.

    :param code: HTTP status.
    :param reason: Kubernetes' word for it: ``NotFound``, ``AlreadyExists``, ``Invalid``, ...
    :param message: a sentence for a person.
    :param causes: the fields that are wrong. Default: none.
    """

    def __init__(self, code: int, reason: str, message: str, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.causes = causes

    def status(self) -> dict[str, Any]:
        """The ``Status`` object, as JSON-like data."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.causes:
            status["details"] = {
                "kind": "Pod",
                "causes": [
                    {"reason": "FieldValueInvalid", "field": cause.field, "message": cause.message}
                    for cause in self.causes
                ],
            }
        return status


def bad_request(message: str) -> ApiError:
    """400: the request itself makes no sense."""
    return ApiError(400, "BadRequest", message)


def pod_not_found(name: str) -> ApiError:
    """404: there is no such pod."""
    return ApiError(404, "NotFound", f'pods "{name}" not found')


def invalid_pod(name: str, causes: tuple[Cause, ...]) -> ApiError:
    """422: the pod breaks a rule of Kubernetes, or asks for what this server does not have."""
    listed = ", ".join(f"{cause.field}: {cause.message}" for cause in causes)
    return ApiError(422, "Invalid", f'Pod "{name}" is invalid: {listed}', causes)
