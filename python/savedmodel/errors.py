"""Every exception of the package: one class for each canonical status code.

The names are TensorFlow's (`tf.errors`). Each class also inherits the builtin exception that a
Python programmer would catch, where there is one.
"""

from __future__ import annotations

import enum

__all__ = [
    "AbortedError",
    "AlreadyExistsError",
    "CancelledError",
    "DataLossError",
    "DeadlineExceededError",
    "ErrorCode",
    "FailedPreconditionError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "OutOfRangeError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "SavedModelError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
    "UnknownSignatureError",
]


class ErrorCode(enum.IntEnum):
    """The canonical status codes, with TensorFlow's numbers."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class SavedModelError(RuntimeError):
    """Base of every error that loading or running a model reports. `code` says which kind."""

    code = ErrorCode.UNKNOWN


class CancelledError(SavedModelError):
    """The call was cancelled."""

    code = ErrorCode.CANCELLED


class UnknownError(SavedModelError):
    """An error without a more exact code."""

    code = ErrorCode.UNKNOWN


class InvalidArgumentError(SavedModelError, ValueError):
    """A wrong name, shape or value, or a graph that cannot be built."""

    code = ErrorCode.INVALID_ARGUMENT


class UnknownSignatureError(InvalidArgumentError, KeyError):
    """`model.signatures[...]` of a name that the model does not have."""

    def __str__(self) -> str:
        """The message itself, where KeyError would show its repr."""
        return str(self.args[0]) if self.args else ""


class DeadlineExceededError(SavedModelError, TimeoutError):
    """`RunOptions(timeout_in_ms=...)` ran out."""

    code = ErrorCode.DEADLINE_EXCEEDED


class NotFoundError(SavedModelError, FileNotFoundError):
    """A directory, file, tag set or resource that is not there."""

    code = ErrorCode.NOT_FOUND


class AlreadyExistsError(SavedModelError, FileExistsError):
    """Something that must not exist yet does."""

    code = ErrorCode.ALREADY_EXISTS


class PermissionDeniedError(SavedModelError, PermissionError):
    """The file system refused."""

    code = ErrorCode.PERMISSION_DENIED


class ResourceExhaustedError(SavedModelError, MemoryError):
    """Memory, or a device's memory, ran out."""

    code = ErrorCode.RESOURCE_EXHAUSTED


class FailedPreconditionError(SavedModelError):
    """Use after `close()`, use after `fork()`, an uninitialised variable or table."""

    code = ErrorCode.FAILED_PRECONDITION


class AbortedError(SavedModelError):
    """The operation was aborted."""

    code = ErrorCode.ABORTED


class OutOfRangeError(SavedModelError, IndexError):
    """Reading past an end: of an input pipeline, of a file."""

    code = ErrorCode.OUT_OF_RANGE


class UnimplementedError(SavedModelError, NotImplementedError):
    """TensorFlow has no implementation for this."""

    code = ErrorCode.UNIMPLEMENTED


class InternalError(SavedModelError):
    """An invariant of TensorFlow's was broken."""

    code = ErrorCode.INTERNAL


class UnavailableError(SavedModelError, ConnectionError):
    """A remote service is not reachable."""

    code = ErrorCode.UNAVAILABLE


class DataLossError(SavedModelError, ValueError):
    """A file is truncated or corrupt."""

    code = ErrorCode.DATA_LOSS


class UnauthenticatedError(SavedModelError, PermissionError):
    """Credentials are missing."""

    code = ErrorCode.UNAUTHENTICATED


_TYPES: dict[int, type[SavedModelError]] = {
    int(cls.code): cls for cls in SavedModelError.__subclasses__()
}


def exception_type(code: int) -> type[SavedModelError]:
    """The class for a status code."""
    return _TYPES.get(code, UnknownError)
