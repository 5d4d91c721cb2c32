"""ConvexAdam with MIND (Siebert et al., 2024; `convexadam`), the package's defaults, from a given affine."""

import numpy as np
import SimpleITK as sitk
import torch
from _jobs import aligned, run, save
from convexAdam.convex_adam_MIND import convex_adam_pt


def register(job, folder):
    """On the fixed grid after the affine; its displacements are in voxels along the array's axes."""
    torch.set_num_threads(job["threads"])
    fixed, moving = aligned(job)
    voxels = convex_adam_pt(
        sitk.GetArrayFromImage(fixed), sitk.GetArrayFromImage(moving), dtype=torch.float32, verbose=False
    )
    to_mm = np.array(fixed.GetDirection()).reshape(3, 3) * np.array(fixed.GetSpacing())
    # Array axes run k, j, i.
    field = sitk.GetImageFromArray(voxels[..., ::-1] @ to_mm.T, isVector=True)
    field.CopyInformation(fixed)
    save(folder, field, job["affine"])


run(register, ("convexadam", "torch"))
