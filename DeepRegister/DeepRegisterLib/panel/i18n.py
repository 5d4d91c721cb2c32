"""`_`: what people read passes through it on its way to the screen, for Slicer's translations where there are any."""

from __future__ import annotations

try:
    # Handed on as it is: it takes the context of the translation from the file that calls it.
    from slicer.i18n import tr as _
except ImportError:

    def _(text: str) -> str:
        """The text itself: outside Slicer's application nothing is translated."""
        return text


__all__ = ["_"]
