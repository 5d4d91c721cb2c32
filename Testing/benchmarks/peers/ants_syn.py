"""ANTs SyN (Avants et al., 2008; `antspyx`), the package's defaults with its own affine."""

import sys

import ants
import numpy as np
import SimpleITK as sitk
from _jobs import run, save


def register(job, folder):
    """The whole of `ants.registration`."""
    result = ants.registration(
        ants.image_read(job["fixed"]), ants.image_read(job["moving"]), type_of_transform=job.get("kind", "SyN")
    )
    field, affine = result["fwdtransforms"]
    affine = sitk.ReadTransform(affine)
    corners = np.array([affine.TransformPoint(p) for p in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]])
    matrix = np.eye(4)
    matrix[:3, 3] = corners[0]
    matrix[:3, :3] = (corners[1:] - corners[0]).T
    save(folder, sitk.ReadImage(field), matrix)


sys.exit(run(register))
