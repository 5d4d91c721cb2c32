"""Label maps in files, with the names that 3D Slicer's segmentations (.seg.nrrd) give their labels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import FileError, InputError
from .volume import Volume


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A label map and what its labels are called.

    Attributes:
        volume: voxels of a whole-number type.
        names: by label; empty where the file has none.
    """

    volume: Volume
    names: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | os.PathLike) -> LabelMap:
        """Read a label map of any format, or a segmentation of 3D Slicer.

        Raises:
            FileError, InputError: it cannot be read, is no label map, or its segments overlap.
        """
        names = _segment_names(Path(path))
        return cls(whole_numbers(Volume.read(path)), names)


@dataclass(frozen=True, eq=False)
class Structures:
    """Structures that do not overlap each other, in one label map on each side.

    Attributes:
        names: by label.
        fixed: label map of the fixed volume, LPS mm, on any grid.
        moving: label map of the moving volume with the same labels; None where there is none.
    """

    names: dict[int, str]
    fixed: Volume
    moving: Volume | None = None


def read_label_maps(fixed: str | os.PathLike, moving: str | os.PathLike) -> tuple[LabelMap, LabelMap]:
    """Two label maps whose equal labels mean the same structure.

    Slicer numbers segments in the order in which they were made. Where both files name their segments, structures of
    one name get the fixed map's label, and structures that only the moving map has a label of their own.

    Raises:
        FileError, InputError: as `LabelMap.read`.
    """
    first, second = LabelMap.read(fixed), LabelMap.read(moving)
    if not first.names or not second.names or dict(first.names) == dict(second.names):
        return first, second
    label_of = {name: label for label, name in first.names.items()}
    unused = max([*first.names, *second.names, int(second.volume.data.max())]) + 1
    changed, names = second.volume.data.astype(np.int64), {}
    for label, name in second.names.items():
        new = label_of.get(name)
        if new is None:
            new, unused = unused, unused + 1
        changed[second.volume.data == label] = new
        names[new] = name
    return first, LabelMap(replace(second.volume, data=changed), names)


def whole_numbers(volume: Volume) -> Volume:
    """The volume with labels of a whole-number type.

    Raises:
        InputError: a voxel is not a whole number.
    """
    data = volume.data
    if data.dtype.kind in "iu":
        return volume
    if data.dtype.kind == "f" and not np.all(np.isfinite(data) & (data == np.round(data))):
        raise InputError(
            f"{volume.name} holds voxels that are not whole numbers, so it is no label map. Give the label map, and "
            "resample label maps with nearest-neighbour interpolation."
        )
    return volume.astype(np.int64)


def _segment_names(path: Path) -> dict[int, str]:
    if not path.name.lower().endswith(".nrrd") or not path.is_file():
        return {}
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        # Reading the image itself says what is wrong.
        return {}
    found = {}
    for key in reader.GetMetaDataKeys():
        segment, _, entry = key.rpartition("_")
        if entry == "LabelValue" and segment.startswith("Segment"):
            name = f"{segment}_Name"
            try:
                value = reader.GetMetaData(key)
                title = reader.GetMetaData(name) if reader.HasMetaDataKey(name) else segment
            # What SimpleITK makes of a key that is not UTF-8.
            except TypeError as error:
                raise FileError(f"{path.name}: {key!r} is damaged. Save the segmentation again.") from error
            # Not isdigit, which is true of a superscript.
            if not value.strip().isdecimal():
                raise FileError(f"{path.name}: {key} is {value!r} and no label. Save the segmentation again.")
            # A lone surrogate, which it puts into a value for such a byte, could never be written again.
            found[int(value)] = title.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if found and reader.GetNumberOfComponents() > 1:
        raise InputError(
            f"{path.name} holds overlapping segments in {reader.GetNumberOfComponents()} layers, which one label map "
            "cannot show. In 3D Slicer export the segments that matter as a label map each, or remove the overlap."
        )
    return found
