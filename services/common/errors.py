"""What can go wrong, in words a caller can act on; no transport and no driver is known here.

Every error that may reach a client is a `DomainError`. It carries a canonical gRPC code by name, a stable
machine-readable reason, a message that is safe to show, and the fields at fault. The one interceptor turns
it into a `google.rpc.Status`; nothing else does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class FieldViolation:
    """One field of a request that is wrong.

    `field` is the path in the request's proto names, such as `events[3].revenue`; `description` says what
    would be right; `reason` is an UPPER_SNAKE_CASE constant, empty where the error's own reason says it all.
    """

    field: str
    description: str
    reason: str = ""


class DomainError(Exception):
    """An error that a client is told about; subclasses fix the canonical code.

    `message` must be safe to show to any caller. `reason` is an UPPER_SNAKE_CASE constant that callers may
    branch on. `metadata` holds the values a program would otherwise parse from the message.
    """

    code: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        violations: Sequence[FieldViolation] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.violations = tuple(violations)
        self.metadata = dict(metadata or {})


class InvalidArgumentError(DomainError):
    """The request is wrong whatever the state of the system; `violations` name the fields."""

    code = "INVALID_ARGUMENT"


class NotFoundError(DomainError):
    """Something the request names does not exist."""

    code = "NOT_FOUND"


class AlreadyExistsError(DomainError):
    """The request would create something that exists with other content."""

    code = "ALREADY_EXISTS"


class FailedPreconditionError(DomainError):
    """The system is not in a state for this; the message names the remedy."""

    code = "FAILED_PRECONDITION"


class AbortedError(DomainError):
    """The work collided with other work; the same request may be sent again."""

    code = "ABORTED"


class ResourceExhaustedError(DomainError):
    """A limit on size, number or rate was reached; the message gives the limit."""

    code = "RESOURCE_EXHAUSTED"


class DeadlineExceededError(DomainError):
    """The work took longer than it was allowed to."""

    code = "DEADLINE_EXCEEDED"


class UnavailableError(DomainError):
    """Something this service needs does not answer now; a later try may succeed."""

    code = "UNAVAILABLE"


class UnimplementedError(DomainError):
    """The contract names this, and this version does not offer it."""

    code = "UNIMPLEMENTED"


class InternalError(DomainError):
    """Something is broken here; the message says nothing of the inside."""

    code = "INTERNAL"


class ConstraintViolation(Exception):
    """A named database constraint refused a statement; a store translates it into a `DomainError`.

    It is no `DomainError`: a constraint's name is the inside of a service. One that reaches the interceptor
    untranslated becomes INTERNAL.
    """

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


def invalid_field(field: str, description: str, reason: str = "INVALID_FIELD") -> InvalidArgumentError:
    """Return the error for a single wrong field; its message names the field."""
    violation = FieldViolation(field=field, description=description, reason=reason)
    return InvalidArgumentError(f"{field}: {description}", reason=reason, violations=(violation,))


def invalid_fields(violations: Sequence[FieldViolation]) -> InvalidArgumentError:
    """Return one error for several wrong fields; `violations` must not be empty."""
    if len(violations) == 1:
        only = violations[0]
        return invalid_field(only.field, only.description, only.reason or "INVALID_FIELD")
    message = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
    return InvalidArgumentError(message, reason="INVALID_FIELD", violations=violations)


def error_to_json(error: DomainError) -> dict[str, Any]:
    """Return an error in parts that JSON holds, for another process."""
    return {
        "code": error.code,
        "reason": error.reason,
        "message": error.message,
        "metadata": error.metadata,
        "violations": [asdict(violation) for violation in error.violations],
    }


def error_from_json(parts: Mapping[str, Any]) -> DomainError:
    """Return the error that `error_to_json` took apart; an InternalError where its code is none of these.

    Raises:
        ValueError: these are not the parts of an error.
    """
    kinds = {kind.code: kind for kind in DomainError.__subclasses__()}
    try:
        return kinds.get(parts["code"], InternalError)(
            parts["message"],
            reason=parts["reason"],
            metadata=parts["metadata"],
            violations=[FieldViolation(**violation) for violation in parts["violations"]],
        )
    except (KeyError, TypeError) as error:
        raise ValueError("these are not the parts of an error") from error
