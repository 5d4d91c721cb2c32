"""DeepRegister's engine: deep-learning medical image registration, without Slicer.

    import deepregister
    result = deepregister.register("fixed.nii.gz", "moving.nii.gz")
    result.transform.resample(...)

Importing this package imports nothing outside the standard library; each name below loads what it needs on first use.
So torch stays out of Slicer's process, and `deepregister doctor` can speak where a package is missing.
"""

from importlib import import_module

from .errors import DeepRegisterError

__version__ = "0.1.0"

_HOMES = {
    "Affine": "transforms",
    "Composite": "transforms",
    "DisplacementField": "transforms",
    "Geometry": "volume",
    "Progress": "progress",
    "Registration": "result",
    "Rigid": "transforms",
    "Settings": "settings",
    "Transform": "transforms",
    "Volume": "volume",
    "read_transform": "transforms",
    "register": "registration",
}

__all__ = ["DeepRegisterError", *_HOMES]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    except ImportError as error:
        error.add_note("`deepregister doctor` says what is missing and the command that mends it.")
        raise


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
