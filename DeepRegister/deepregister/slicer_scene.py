"""A 3D Slicer scene (`scene.mrml`) beside the results: it opens with the moving volume already under its transform.

Only the nodes that matter are written; Slicer fills in the rest. Files are referenced, not copied: by paths relative to
the scene, where the folder shall stay whole when it is moved, or by full ones.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from .geometry import Geometry
from .writing import replacing

# What Slicer's volume storage reads as it is; anything else (a DICOM folder, one frame of a series) needs a copy.
VOLUME_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")

# Rows of Slicer's preset orientations, RAS; the columns are a view's right, up and normal.
ORIENTATIONS = {
    "Axial": ((-1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "Sagittal": ((0, 0, -1), (-1, 0, 0), (0, 1, 0)),
    "Coronal": ((-1, 0, 0), (0, 0, 1), (0, 1, 0)),
}
# Slicer's three slice views. A node read from a file replaces the view's own, colours and labels included.
VIEWS = (
    ("Red", "Axial", "R", "0.952941 0.290196 0.2"),
    ("Yellow", "Sagittal", "Y", "0.929412 0.835294 0.298039"),
    ("Green", "Coronal", "G", "0.431373 0.690196 0.294118"),
)
FIXED, MOVING = "vtkMRMLScalarVolumeNode1", "vtkMRMLScalarVolumeNode2"
VIEW_PIXELS = 256


def slicer_reads(path: str | os.PathLike) -> bool:
    """Whether a scene can name this image itself: a file, of a kind that Slicer's volume storage reads."""
    path = Path(path)
    return path.is_file() and path.name.lower().endswith(VOLUME_ENDINGS)


def write_scene(
    path: str | os.PathLike,
    fixed: str | os.PathLike,
    moving: str | os.PathLike,
    transform: str | os.PathLike,
    view: Geometry,
    names: tuple[str, str] = ("Fixed", "Moving"),
) -> None:
    """Write a scene of both volumes, blended in the slice views, the moving one under the transform.

    Args:
        path: the .mrml file.
        fixed: image file of the fixed volume. Here and below a relative path starts from the scene's folder.
        moving: image file of the moving volume.
        transform: fixed to moving, LPS mm: a dense displacement field (.nrrd, .nii.gz), which becomes a grid transform
            node, or an ITK file (.h5, .tfm) of a linear transform.
        view: what the slice views show whole: the fixed volume's grid.
        names: of the two volume nodes.

    Raises:
        FileError: the place cannot be written.
    """
    kind = "Grid" if Path(transform).name.lower().endswith(VOLUME_ENDINGS) else "Linear"
    scene = ET.Element("MRML", version="Slicer 5.10.0 0")
    for identity, name, file in ((FIXED, names[0], fixed), (MOVING, names[1], moving)):
        number = identity[-1]
        references = (
            f"display:vtkMRMLScalarVolumeDisplayNode{number};storage:vtkMRMLVolumeArchetypeStorageNode{number};"
        )
        if identity == MOVING:
            references += f"transform:vtkMRML{kind}TransformNode1;"
        _node(scene, "Volume", identity, name, references=references)
        _node(
            scene,
            "VolumeDisplay",
            f"vtkMRMLScalarVolumeDisplayNode{number}",
            colorNodeID="vtkMRMLColorTableNodeGrey",
            interpolate="1",
            autoWindowLevel="1",
        )
        _node(scene, "VolumeArchetypeStorage", f"vtkMRMLVolumeArchetypeStorageNode{number}", fileName=_reference(file))
    _node(
        scene,
        f"{kind}Transform",
        f"vtkMRML{kind}TransformNode1",
        f"{names[1]} onto {names[0]}",
        references=f"spatialRegistrationFixed:{FIXED};spatialRegistrationMoving:{MOVING};"
        "storage:vtkMRMLTransformStorageNode1;",
    )
    _node(scene, "TransformStorage", "vtkMRMLTransformStorageNode1", fileName=_reference(transform))
    for layout in VIEWS:
        _slice_view(scene, view, *layout)
    ET.indent(scene)
    with replacing(Path(path)) as aside:
        ET.ElementTree(scene).write(aside, encoding="UTF-8", xml_declaration=True)


def _node(scene: ET.Element, tag: str, identity: str, name: str = "", **attributes: str) -> None:
    hidden = {} if name else {"hideFromEditors": "true"}
    ET.SubElement(scene, tag, {"id": identity, "name": name or tag, **hidden, **attributes})


def _reference(file: str | os.PathLike) -> str:
    text = Path(file).as_posix()
    # Slicer takes back exactly these; the percent sign goes first.
    for sign in "% '\"<>":
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def _slice_view(scene: ET.Element, view: Geometry, layout: str, orientation: str, label: str, colour: str) -> None:
    to_ras = np.array([-1.0, -1.0, 1.0])
    half = np.abs(np.asarray(view.direction)) @ view.extent_mm / 2
    rows = np.asarray(ORIENTATIONS[orientation], dtype=float)
    width, height = (2 * float(np.abs(rows[:, axis]) @ half) * 1.05 for axis in (0, 1))
    field = f"{max(width, height):.6g} {max(width, height):.6g} 1"
    pixels = f"{VIEW_PIXELS} {VIEW_PIXELS} 1"
    slice_to_ras = np.eye(4)
    slice_to_ras[:3, :3] = rows
    slice_to_ras[:3, 3] = view.centre * to_ras
    presets = {f"orientationMatrix{name}": _numbers(matrix) for name, matrix in ORIENTATIONS.items()}
    shared = {"singletonTag": layout, "layoutName": layout}
    _node(
        scene,
        "Slice",
        f"vtkMRMLSliceNode{layout}",
        layout,
        **shared,
        **presets,
        layoutLabel=label,
        layoutColor=colour,
        orientation=orientation,
        orientationReference=orientation,
        fieldOfView=field,
        dimensions=pixels,
        uvwExtents=field,
        uvwDimensions=pixels,
        sliceToRAS=_numbers(slice_to_ras),
    )
    _node(
        scene,
        "SliceComposite",
        f"vtkMRMLSliceCompositeNode{layout}",
        f"SliceComposite{layout}",
        **shared,
        # Newer Slicers write node references here, but all of them read these.
        backgroundVolumeID=FIXED,
        foregroundVolumeID=MOVING,
        foregroundOpacity="0.5",
        linkedControl="1",
    )


def _numbers(matrix: np.ndarray | tuple[tuple[int, ...], ...]) -> str:
    return " ".join(f"{value:.9g}" for value in np.asarray(matrix).ravel())
