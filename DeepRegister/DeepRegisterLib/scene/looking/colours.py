"""The colours of the overlays: those of the report page, made for lying over a grey image.

Slicer's slice views know two kinds of places in a coloured volume, transparent and not, so a colour table can leave
those away where nothing happens.
"""

from __future__ import annotations

import numpy as np

COUNT = 256
# Anchors of viridis, evenly spaced, which the report page shows lengths in.
_LENGTH = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
# Anchors of inferno, which the report page shows errors in, without its darkest.
_ERROR = ((87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
# Orange for smaller and violet for larger, as on the report page; both start pale.
_SMALLER = ((255, 200, 130), (244, 140, 32), (190, 88, 6))
_LARGER = ((190, 175, 245), (140, 95, 235), (100, 30, 200))
_FOLDED = (224, 0, 184)
_DARKER = ((110, 165, 255), (40, 110, 255), (0, 50, 220))
_BRIGHTER = ((255, 160, 110), (255, 80, 40), (215, 0, 0))


def lengths() -> np.ndarray:
    """(256, 4) colours from 0 to 1 for a length that starts at 0; where there is next to none, transparent."""
    return _table(np.linspace(0, 1, COUNT), _LENGTH, transparentBelow=0.02)


def errors() -> np.ndarray:
    """Colours for an error, as `lengths` for a length."""
    return _table(np.linspace(0, 1, COUNT), _ERROR, transparentBelow=0.02)


def volumeChange() -> np.ndarray:
    """Colours for the local change of volume, 1 in the middle; the first colour is that of a fold."""
    table = _twoSided(_SMALLER, _LARGER, transparentBelow=0.12)
    table[0] = (*np.asarray(_FOLDED) / 255, 1)
    return table


def difference() -> np.ndarray:
    """Colours for a difference of grey values, 0 in the middle."""
    return _twoSided(_DARKER, _BRIGHTER, transparentBelow=0.15)


def _twoSided(below: tuple, above: tuple, transparentBelow: float) -> np.ndarray:
    position = np.linspace(-1, 1, COUNT)
    sides = [_table(np.abs(position), anchors, transparentBelow) for anchors in (below, above)]
    return np.where(position[:, None] < 0, *sides)


def _table(position: np.ndarray, anchors: tuple, transparentBelow: float) -> np.ndarray:
    stops = np.linspace(0, 1, len(anchors))
    channels = [np.interp(position, stops, np.asarray(anchors)[:, channel] / 255) for channel in range(3)]
    return np.column_stack([*channels, position >= transparentBelow])
