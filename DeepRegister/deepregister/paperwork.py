"""What the worker process writes to files for somebody else: the report page of a result, or a DICOM series.

Neither needs torch. In the worker they keep no window waiting, and its Python need not be the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .dicomseries import write_dicom_series
from .errors import Cancelled, InputError
from .page import write_page
from .progress import Progress


def write(
    kind: str,
    arguments: dict[str, Any],
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[str]:
    """Write a report page or a DICOM series.

    Args:
        kind: "page" or "dicom".
        arguments: of `page.write_page` or `dicomseries.write_dicom_series`, the place as an absolute path.
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


_WRITERS = {"page": ("Writing the report page", _page), "dicom": ("Writing the DICOM series", _dicom)}
