"""Hypothesis strategies and helpers: grids, transforms, and the same voxels with their axes in another order."""

import numpy as np
from deepregister import Affine, DisplacementField, Geometry, Rigid
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation


def rotations():
    """Rotation matrices: none, right angles and anything between."""
    angles = st.one_of(st.sampled_from([0.0, 90.0, 180.0]), st.floats(-180, 180))
    return st.tuples(angles, angles, angles).map(lambda xyz: Rotation.from_euler("xyz", xyz, degrees=True).as_matrix())


@st.composite
def geometries(draw, least=1, most=9):
    """Oblique, flipped, anisotropic grids away from the origin; also a single voxel thick where `least` is 1."""
    flips = np.array(draw(st.tuples(*[st.sampled_from([1.0, -1.0])] * 3)))
    direction = draw(rotations()) * flips
    return Geometry(
        draw(st.tuples(*[st.integers(least, most)] * 3)),
        draw(st.tuples(*[st.floats(0.3, 4)] * 3)),
        draw(st.tuples(*[st.floats(-300, 300)] * 3)),
        tuple(map(tuple, direction)),
    )


@st.composite
def rigids(draw):
    """Any turn, shifts of up to 50 mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = draw(rotations())
    matrix[:3, 3] = draw(st.tuples(*[st.floats(-50, 50)] * 3))
    return Rigid(matrix)


@st.composite
def affines(draw):
    """Turns, shears, scales from 0.7 to 1.4, sometimes a mirror, shifts of up to 50 mm."""
    matrix = np.eye(4)
    shear = np.eye(3) + np.triu(np.array(draw(st.tuples(*[st.floats(-0.3, 0.3)] * 9))).reshape(3, 3), 1)
    scale = np.diag(draw(st.tuples(*[st.floats(0.7, 1.4)] * 3))) * draw(st.sampled_from([1, -1]))
    matrix[:3, :3] = draw(rotations()) @ shear @ scale
    matrix[:3, 3] = draw(st.tuples(*[st.floats(-50, 50)] * 3))
    return Affine(matrix)


@st.composite
def fields(draw, least=1, most=8):
    """Fields of independent random displacements of up to a few mm."""
    geometry = draw(geometries(least, most))
    noise = np.random.default_rng(draw(st.integers(0, 2**16))).normal(size=(*geometry.shape, 3))
    return DisplacementField(noise.astype(np.float32), geometry)


def points_in(geometry, count=60, margin=0.0, seed=0):
    """Random points (count, 3) in mm between the outer voxel centres, or up to `margin` voxels beyond them."""
    size = np.asarray(geometry.size)
    share = np.random.default_rng(seed).uniform(size=(count, 3))
    return geometry.index_to_point(-margin + share * (size - 1 + 2 * margin))


def relabelled(geometry, array, order, flips):
    """The same voxels at the same places, with axes (i, j, k) taken in another order and some run backwards.

    Args:
        geometry: the grid.
        array: (k, j, i, ...).
        order: new axis n is old axis order[n].
        flips: whether new axis n runs backwards.
    """
    matrix = geometry.matrix
    changed = np.eye(4)
    origin = matrix[:3, 3].copy()
    voxels = np.transpose(array, (2, 1, 0, *range(3, array.ndim)))
    voxels = np.transpose(voxels, (*order, *range(3, array.ndim)))
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        column = matrix[:3, old]
        changed[:3, new] = -column if flip else column
        if flip:
            origin += column * (geometry.size[old] - 1)
            voxels = np.flip(voxels, new)
    changed[:3, 3] = origin
    size = [geometry.size[old] for old in order]
    return Geometry.from_matrix(changed, size), np.transpose(voxels, (2, 1, 0, *range(3, array.ndim)))


def axis_changes():
    """Arguments `order` and `flips` of `relabelled`."""
    return st.tuples(st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
