"""Errors of the engine: one base class, so that a caller can show `str(error)` unchanged.

Each message says what was wrong, with the offending value, and what to do about it.
"""


class DeepRegisterError(Exception):
    """Base of every error the engine raises on purpose. Its text is written for the user."""


class InputError(DeepRegisterError, ValueError):
    """An image, mask, landmark list or setting that cannot be used as it is."""


class GeometryError(InputError):
    """Size, spacing, origin or direction that do not describe an orthogonal voxel grid."""


class TransformError(InputError):
    """A transform of the wrong kind or dimension, or one that cannot be inverted or written."""


class FileError(InputError):
    """A file or folder that is missing, cannot be read, or cannot be written."""


class ModelError(DeepRegisterError):
    """A model that does not exist, or whose card or weights are damaged."""


class DeviceError(DeepRegisterError):
    """A compute device that was asked for and is not there."""


class ResourceError(DeepRegisterError):
    """Not enough memory for the work, even at the coarsest grid."""


class MissingPackageError(DeepRegisterError):
    """A Python package that this needs is not installed. The text has the command that installs it."""


class WorkerError(DeepRegisterError):
    """The worker process could not be started, broke the protocol, or died."""


class Cancelled(DeepRegisterError):  # noqa: N818 - being asked to stop is no error
    """The user asked to stop. Nothing was written or changed."""

    def __init__(self, message: str = "Cancelled: nothing was changed."):
        super().__init__(message)


OUT_OF_MEMORY = (
    "The memory of this machine does not suffice. Close other programs, crop the volumes, or choose the quality 'fast'."
)
# How ITK, torch, the C++ library and the loader of libraries put it, each in an error of a general kind.
_NO_MEMORY = (
    "allocate memory",
    "out of memory",
    "bad_alloc",
    "bad allocation",
    "failed to map segment",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of any library says that there was not enough memory."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY)
