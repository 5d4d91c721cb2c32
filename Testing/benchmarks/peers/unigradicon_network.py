"""uniGradICON (Tian et al., 2024; `unigradicon`): one network for all anatomies, with or without optimisation.

Its command's defaults: intensities clipped as it does for "ct" or "mri", and, where the job says so, 50 iterations of
instance optimisation. The weights are downloaded into the environment on first use.
"""

import sys
from pathlib import Path

import itk
import numpy as np
import SimpleITK as sitk
import torch
import unigradicon
from _itk import as_itk
from _jobs import UnavailableError, aligned, image, run, save
from icon_registration.itk_wrapper import register_pair

WEIGHTS = Path(sys.prefix) / "unigradicon1.0.trch"


def register(job, folder):
    """From the images as they are, or from the moving one resampled through the job's affine."""
    torch.set_num_threads(job["threads"])
    sides = aligned(job) if "affine" in job else [image(job[side]) for side in ("fixed", "moving")]
    # It has to be told; Hounsfield units go far below 0.
    fixed, moving = (
        unigradicon.preprocess(side, "ct" if float(itk.array_view_from_image(side).min()) < -500 else "mri")
        for side in map(as_itk, sides)
    )
    network = unigradicon.get_unigradicon(weights_location=str(WEIGHTS))
    forward, backward = register_pair(network, moving, fixed, finetune_steps=job["iterations"])
    # The way back ends in the moving image on the fixed grid where an affine came first.
    back = field_of(backward, sides[1])
    save(folder, field_of(forward, sides[0]), job.get("affine", np.eye(4)), None if "affine" in job else back)


def field_of(transform, grid):
    """An ITK transform as a field on the grid of a SimpleITK image."""
    field = itk.transform_to_displacement_field_filter(
        transform, reference_image=as_itk(grid), use_reference_image=True
    )
    result = sitk.GetImageFromArray(itk.array_from_image(field), isVector=True)
    result.CopyInformation(grid)
    return result


def download(_):
    """Fetch the weights; half a file is not left behind."""
    try:
        unigradicon.get_unigradicon(weights_location=str(WEIGHTS))
    except OSError as error:
        WEIGHTS.unlink(missing_ok=True)
        raise UnavailableError(f"its weights cannot be downloaded: {error}") from error


run(register, ("unigradicon", "torch"), download)
