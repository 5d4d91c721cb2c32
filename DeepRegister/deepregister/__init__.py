"""DeepRegister's engine: deep-learning medical image registration, without Slicer.

    import deepregister
    result = deepregister.register("fixed.nii.gz", "moving.nii.gz")
    result.transform.resample(...)

Importing this package does not import torch; `register` does, when it is first used.
"""

from .errors import DeepRegisterError
from .progress import Progress
from .settings import Settings
from .transforms import Affine, Composite, DisplacementField, Rigid, Transform, read_transform
from .volume import Geometry, Volume

__version__ = "0.1.0"

__all__ = [
    "Affine",
    "Composite",
    "DeepRegisterError",
    "DisplacementField",
    "Geometry",
    "Progress",
    "Registration",
    "Rigid",
    "Settings",
    "Transform",
    "Volume",
    "read_transform",
    "register",
]


def __getattr__(name: str):
    # torch takes seconds and must stay out of Slicer's process: load what needs it only on use.
    if name == "register":
        from .registration import register

        return register
    if name == "Registration":
        from .result import Registration

        return Registration
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
