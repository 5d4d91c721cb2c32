"""Volumes, transforms and slice views that the scene's tests are made of. All spaces are LPS mm unless RAS is named."""

from __future__ import annotations

import zlib

import numpy as np
import slicer
import vtk
from deepregister import Affine, Composite, DisplacementField, Geometry, Rigid, Settings, Transform, Volume
from deepregister.result import Registration
from DeepRegisterLib.scene.frame import flippedMatrix, ijkToRAS, transformedPoints, vtkMatrix
from DeepRegisterLib.scene.grids import nodeTransform
from DeepRegisterLib.scene.transforms import setNodeTransform
from DeepRegisterLib.scene.volumes import setVolume
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation
from vtk.util.numpy_support import vtk_to_numpy


def rotated(degrees, axis=(0.3, -0.5, 0.8), shift=(0, 0, 0), scale=(1, 1, 1)) -> np.ndarray:
    """A (4, 4) matrix that scales, turns and shifts."""
    matrix = np.eye(4)
    turn = Rotation.from_rotvec(np.deg2rad(degrees) * np.asarray(axis) / np.linalg.norm(axis)).as_matrix()
    matrix[:3, :3] = turn * np.asarray(scale)
    matrix[:3, 3] = shift
    return matrix


def grid(size, spacing, origin, degrees=0.0, axis=(0.3, -0.5, 0.8), flips=(1, 1, 1)) -> Geometry:
    """A grid with turned and flipped axes."""
    direction = rotated(degrees, axis)[:3, :3] * np.asarray(flips)
    return Geometry(size, spacing, origin, tuple(map(tuple, direction)))


def centred(size, spacing, degrees=0.0, axis=(0.3, -0.5, 0.8), flips=(1, 1, 1), centre=(2.0, -3.0, 4.0)) -> Geometry:
    """As `grid`, about a point."""
    at_origin = grid(size, spacing, (0, 0, 0), degrees, axis, flips)
    return grid(size, spacing, tuple(np.asarray(centre) - at_origin.centre), degrees, axis, flips)


# Oblique, anisotropic and flipped in different ways; every moving volume surrounds its fixed one amply, so that no
# test depends on what lies outside an image.
PAIRS = {
    "oblique": (
        centred((36, 40, 20), (1.2, 1.0, 2.4), 17),
        centred((70, 66, 74), (1.8, 1.9, 1.7), -11, (1, 0.2, 0.1)),
    ),
    "flipped": (
        centred((34, 30, 28), (1.1, 1.4, 1.6), 8, flips=(-1, -1, 1)),
        centred((66, 72, 70), (1.9, 1.8, 1.8), -20, flips=(-1, 1, -1)),
    ),
    "permuted": (
        centred((24, 36, 32), (2.0, 1.1, 1.3), 120, (1, 1, 1), flips=(1, 1, -1)),
        centred((70, 70, 70), (1.8, 1.8, 1.8), 5),
    ),
}


def bending(geometry: Geometry, amplitude=4.0, wavelength=28.0) -> DisplacementField:
    """A smooth field on `geometry` that does not fold."""
    points = geometry.points()
    phase = 2 * np.pi * points / wavelength
    displacement = amplitude * np.stack(
        [
            np.sin(phase[..., 1] + 0.3),
            0.8 * np.cos(phase[..., 2]) * np.sin(0.5 * phase[..., 0]),
            0.6 * np.sin(phase[..., 0] - 0.7),
        ],
        axis=-1,
    )
    return DisplacementField(displacement, geometry)


def deformable(fixed: Geometry, degrees=9.0, shift=(3, -4, 2), spacing=2.0, **field) -> Composite:
    """What the engine returns: a field on the fixed volume's axes that tapers to 0 in a margin, then an affine."""
    linear = rotated(degrees, (0.2, 1, 0.4), scale=(1.04, 0.97, 1.02))
    linear[:3, 3] = fixed.centre + np.asarray(shift) - linear[:3, :3] @ fixed.centre
    margin = 7
    geometry = fixed.with_spacing((spacing,) * 3).padded(margin)
    taper = np.ones(geometry.shape)
    for axis, count in enumerate(geometry.shape):
        index = np.arange(count)
        depth = np.clip(np.minimum(index, index[::-1]) / (margin - 1), 0, 1)
        taper *= np.expand_dims(depth**2 * (3 - 2 * depth), [other for other in range(3) if other != axis])
    smooth = bending(geometry, **field).displacement
    return Composite((DisplacementField(smooth * taper[..., None], geometry), Affine(linear)))


def rigid(fixed: Geometry, degrees=12.0, shift=(2, 3, -4)) -> Rigid:
    """A turn and shift about the middle of `fixed`."""
    matrix = rotated(degrees, (1, 0.5, -0.3))
    matrix[:3, 3] = fixed.centre + np.asarray(shift) - matrix[:3, :3] @ fixed.centre
    return Rigid(matrix)


def texture(geometry: Geometry, seed=0, sigma=2.0) -> Volume:
    """A smooth random image of values about 0 to 200."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(geometry.shape), sigma, mode="wrap")
    return Volume((100 + 30 * noise / noise.std()).astype(np.float32), geometry, "texture")


def ramps(geometry: Geometry) -> list[Volume]:
    """Three images whose voxels hold their own x, y and z: resampling them shows where each sample was taken, in mm."""
    return [Volume(np.ascontiguousarray(geometry.points()[..., axis]), geometry, "xyz"[axis]) for axis in range(3)]


def addVolume(scene, volume: Volume, name: str, className="vtkMRMLScalarVolumeNode"):
    """A volume node that shows `volume`, with a display node."""
    node = scene.AddNewNodeByClass(className, name)
    setVolume(node, volume)
    node.CreateDefaultDisplayNodes()
    return node


def addLinear(scene, matrix: np.ndarray, name: str, parent=None):
    """A linear transform node whose to-parent is `matrix` (LPS): what it does to points of its children."""
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(vtkMatrix(flippedMatrix(matrix)))
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


def setTransform(node, transform: Transform, fixed: Geometry) -> None:
    """Put an engine transform onto a transform node, as a result is."""
    setNodeTransform(node, nodeTransform(transform, fixed, oneGrid=bool(node.IsA("vtkMRMLGridTransformNode"))))


def registration(transform: Transform, fixed: Volume, moving: Volume, model="deformable", **other) -> Registration:
    """The engine's result for a transform that is known."""
    values = {
        "inverse": transform.inverse(),
        "registered": transform.resample(moving, fixed.geometry),
        "settings": Settings(model=model),
        "measures": {"similarity_after": 0.9},
        "seconds": {"deform": 1.5},
        "device": "CPU",
        "versions": {"deepregister": "0.1.0"},
    }
    return Registration(transform, **{**values, **other})


class SliceView:
    """A slice view of the real slice logic, and the grid in space that its pixels lie on."""

    def __init__(self, host, volumeNode, name="Red"):
        self.logic = host.addSliceView(name)
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volumeNode.GetID())

    def show(self, geometry: Geometry) -> Geometry:
        """Turn the view so that its pixels are the voxels (i, j) of `geometry`, and return their grid.

        Pixels of a slice view are a right-handed frame; where `geometry` is not, the view looks from behind.
        """
        node = self.logic.GetSliceNode()
        node.SetDimensions(geometry.size[0], geometry.size[1], 1)
        node.SetFieldOfView(geometry.size[0] * geometry.spacing[0], geometry.size[1] * geometry.spacing[1], 1)
        toRAS = ijkToRAS(geometry)
        axes = toRAS[:3, :3] / np.asarray(geometry.spacing)
        sliceToRAS = np.eye(4)
        sliceToRAS[:3, :3] = np.column_stack([axes[:, 0], axes[:, 1], np.cross(axes[:, 0], axes[:, 1])])
        half = np.asarray(geometry.size[:2]) / 2
        sliceToRAS[:3, 3] = toRAS[:3, 3] + toRAS[:3, :2] @ half
        node.GetSliceToRAS().DeepCopy(vtkMatrix(sliceToRAS))
        node.UpdateMatrices()
        return Geometry((*geometry.size[:2], 1), geometry.spacing, geometry.origin, geometry.direction)

    def pixels(self) -> np.ndarray:
        """What the view resampled of its background volume, before colours: (1, j, i)."""
        reslice = self.logic.GetBackgroundLayer().GetReslice()
        reslice.Update()
        image = reslice.GetOutput()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]).copy()


def sliceOf(geometry: Geometry, k: int) -> Geometry:
    """The k-th slice of a grid, as a grid."""
    return geometry.cropped((0, 0, k), (*geometry.size[:2], k + 1))


def thinPlateSpline(points: np.ndarray, moved: np.ndarray) -> vtk.vtkThinPlateSplineTransform:
    """A thin-plate spline through point pairs (LPS), in RAS: one more kind of transform a scene can hold."""
    spline = vtk.vtkThinPlateSplineTransform()
    for setter, positions in ((spline.SetSourceLandmarks, points), (spline.SetTargetLandmarks, moved)):
        landmarks = vtk.vtkPoints()
        for position in positions * np.array([-1, -1, 1]):
            landmarks.InsertNextPoint(position)
        setter(landmarks)
    spline.SetBasisToR()
    return spline


def dump(scene) -> dict[str, object]:
    """All that the scene holds: what must be the same before and after a run that failed.

    Every node's content as Slicer would save it, what transforms do to some points, and the voxels of volumes.
    """
    scene.SetSaveToXMLString(1)
    scene.Commit()
    scene.SetSaveToXMLString(0)
    held: dict[str, object] = {"xml": scene.GetSceneXMLString().splitlines()}
    points = np.random.default_rng(0).uniform(-30, 30, (20, 3))
    for node in (scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())):
        content: object = None
        if node.IsA("vtkMRMLTransformNode") and node.GetTransformFromParent() is not None:
            content = transformedPoints(node.GetTransformFromParent(), points).round(9).tolist()
        elif node.IsA("vtkMRMLVolumeNode") and node.GetImageData() is not None:
            content = zlib.crc32(np.ascontiguousarray(slicer.util.arrayFromVolume(node)).tobytes())
        held[f"{node.GetID()} {node.GetName()}"] = content
    return held


def hierarchyOf(scene):
    """The subject hierarchy, made as Slicer's application makes it."""
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
