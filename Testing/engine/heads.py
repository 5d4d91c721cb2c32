"""Label maps of a head of a few ellipsoids, in FreeSurfer's numbering, for what is synthesised from label maps."""

import numpy as np
from scipy.spatial.transform import Rotation

SHAPE, SPACING = (32, 40, 36), 4.0
LABELS = (2, 3, 4, 10, 16, 24, 41, 42, 43, 49, 511, 515)
# Where a label stands in `LABELS`, from 1 on: the maps' voxels.
PLACE = {label: number for number, label in enumerate(LABELS, 1)}


def head_labels(matrix=None, shape=SHAPE, spacing=SPACING):
    """The map (k, j, i) of places, seen through `matrix`, and (4, 4) from voxel indices to mm about its middle."""
    to_mm = np.diag([spacing] * 3 + [1.0])
    to_mm[:3, 3] = -spacing * (np.asarray(shape[::-1]) - 1) / 2
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")[::-1], -1)
    points = index @ to_mm[:3, :3].T + to_mm[:3, 3]
    if matrix is not None:
        points = points @ matrix[:3, :3].T + matrix[:3, 3]
    labels = np.zeros(shape, np.uint8)
    left = points[..., 0] > 0

    def fill(label, centre, radii, where=True):
        inside = (((points - centre) / radii) ** 2).sum(-1) < 1
        labels[inside & where] = PLACE[label]

    fill(511, (0, 0, 0), (62, 74, 62))
    fill(515, (0, 0, 0), (56, 68, 56))
    fill(24, (0, 0, 0), (52, 62, 52))
    for sign, side, (white, cortex, ventricle, thalamus) in ((1, left, (2, 3, 4, 10)), (-1, ~left, (41, 42, 43, 49))):
        fill(cortex, (0, 0, 4), (46, 56, 44), side)
        fill(white, (0, 0, 4), (34, 44, 32), side)
        fill(ventricle, (sign * 10, 6, 12), (8, 20, 8), side)
        fill(thalamus, (sign * 12, -10, -4), (9, 12, 9), side)
    fill(16, (0, -20, -30), (10, 10, 24))
    return labels, to_mm


def turned(degrees=0.0, mm=(0, 0, 0), stretch=1.0):
    """(4, 4) of a turn about all axes, a stretch and a shift."""
    matrix = np.eye(4)
    matrix[:3, :3] = stretch * Rotation.from_euler("zyx", [degrees, degrees / 2, -degrees], degrees=True).as_matrix()
    matrix[:3, 3] = mm
    return matrix
