"""What the worker process writes to files for somebody else: a report page, a DICOM series, a transform.

None of them needs torch. In the worker they keep no window waiting, and its Python need not be the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .dicomseries import write_dicom_series
from .errors import Cancelled, InputError
from .geometry import Geometry
from .page import write_page
from .progress import Progress
from .transforms import Transform
from .transforms.files import write_transform
from .transforms.inversion import inverse_on as solved


def write(
    kind: str,
    arguments: dict[str, Any],
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[str]:
    """Write a report page, a DICOM series or a transform.

    Args:
        kind: "page", "dicom" or "transform".
        arguments: of `page.write_page`, `dicomseries.write_dicom_series` or `transforms.files.write_transform`, the
            place as an absolute path; for a transform also `inverse_on`, a grid in moving space to solve for the
            inverse on and write that instead.
        progress: is told that it begins.
        cancelled: asked before it begins.

    Returns:
        The files.

    Raises:
        DeepRegisterError: what the writer raises; `Cancelled`.
    """
    if kind not in _WRITERS:
        raise InputError(f"{kind!r} cannot be written. Choose one of {', '.join(_WRITERS)}.")
    message, writer = _WRITERS[kind]
    if progress is not None:
        progress(Progress("write", 0.0, message))
    if cancelled is not None and cancelled():
        raise Cancelled()
    return writer(**arguments)


def _page(path: str, **arguments: Any) -> list[str]:
    write_page(path, **arguments)
    return [path]


def _dicom(**arguments: Any) -> list[str]:
    return [str(path) for path in write_dicom_series(**arguments)]


def _transform(path: str, transform: Transform, onto: Geometry | None, inverse_on: Geometry | None) -> list[str]:
    write_transform(transform if inverse_on is None else solved(transform, inverse_on), path, onto)
    return [path]


_WRITERS = {
    "page": ("Writing the report page", _page),
    "dicom": ("Writing the DICOM series", _dicom),
    "transform": ("Writing the transform", _transform),
}
