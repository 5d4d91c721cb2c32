"""A small CT series on disk, written with SimpleITK and GDCM."""

import numpy as np
import SimpleITK as sitk


def write_ct(folder, voxels, geometry, uid="1.2.826.0.1.3680043.8.498.1", skip=(), tilt_mm=0.0):
    """Write one DICOM file for each slice, named in an order that is not the order of the slices.

    Args:
        folder: made if missing.
        voxels: (k, j, i), int16.
        geometry: where they lie.
        uid: of the series.
        skip: indices k that are left out.
        tilt_mm: how far each slice is pushed along j against the one before, as by a tilted gantry.
    """
    folder.mkdir(parents=True, exist_ok=True)
    axes = np.asarray(geometry.direction)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k, slice_ in enumerate(voxels):
        if k in skip:
            continue
        image = sitk.GetImageFromArray(slice_)
        image.SetSpacing(geometry.spacing[:2])
        position = geometry.index_to_point([0, 0, k]) + axes[:, 1] * tilt_mm * k
        header = {
            "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{uid}.{k + 1}",
            "0008|0060": "CT",
            "0018|0050": f"{geometry.spacing[2]:.6f}",
            "0020|000d": "1.2.826.0.1.3680043.8.498.9",
            "0020|000e": uid,
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(f"{x:.6f}" for x in position),
            "0020|0037": "\\".join(f"{x:.8f}" for x in (*axes[:, 0], *axes[:, 1])),
            "0028|1052": "0",
            "0028|1053": "1",
        }
        for tag, value in header.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{uid[-1]}{(k * 5) % 97:02d}.dcm"))
        writer.Execute(image)
