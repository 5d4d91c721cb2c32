"""What the scripts of all methods share: a job comes as JSON on stdin, its report is left as a file.

A job names the image files, a folder, the threads and, for methods that start from our affine, the (4, 4) matrix, fixed
to moving, LPS mm. A script leaves in the folder `report.json` and the transform: `field.nii.gz` (LPS mm, fixed space)
and `affine.txt`, to be applied in this order, or, for ours, `transform.h5`. Where a method makes the inverse anyway it
is left too: `inverse_field.nii.gz` (moving space after the inverse of the affine), or `inverse.h5`.

A job that has no images is a question: what is installed, and is everything there that a registration needs?
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import SimpleITK as sitk


class UnavailableError(Exception):
    """What a method needs is not here and cannot be fetched: it is left out, which is no failure."""


def run(method, packages, prepare=None):
    """Call `method(job, folder)` for the job and leave its report: seconds, or why it failed or cannot run.

    Args:
        packages: whose versions belong to the figures.
        prepare: fetches what registrations need beside the packages; its time is nobody's.
    """
    job = json.load(sys.stdin)
    folder = Path(job["folder"])
    try:
        if "fixed" in job:
            started = time.perf_counter()
            told = method(job, folder) or {}
            report = {"seconds": round(time.perf_counter() - started, 3), **told}
        else:
            if prepare:
                prepare(job)
            report = {"versions": {name: version(name) for name in packages}}
    except UnavailableError as error:
        report = {"failed" if "fixed" in job else "skipped": str(error)}
    except Exception as error:
        report = {"failed": f"{type(error).__name__}: {error}"}
    # A script that dies while it writes has left no report.
    (folder / "report.part").write_text(json.dumps(report), encoding="utf-8")
    (folder / "report.part").replace(folder / "report.json")


def image(path):
    """An image as float32."""
    return sitk.ReadImage(str(path), sitk.sitkFloat32)


def itk_affine(matrix):
    """A (4, 4) matrix as SimpleITK's transform."""
    matrix = np.array(matrix)
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(matrix[:3, :3].ravel().tolist())
    affine.SetTranslation(matrix[:3, 3].tolist())
    return affine


def matrix_of(transform):
    """The (4, 4) matrix of any linear SimpleITK transform, whatever its parameters are."""
    corners = np.array([transform.TransformPoint(p) for p in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]])
    matrix = np.eye(4)
    matrix[:3, 3] = corners[0]
    matrix[:3, :3] = (corners[1:] - corners[0]).T
    return matrix


def aligned(job):
    """The fixed image, and the moving one resampled onto it through the job's affine start."""
    fixed, moving = image(job["fixed"]), image(job["moving"])
    floor = float(sitk.GetArrayViewFromImage(moving).min())
    return fixed, sitk.Resample(moving, fixed, itk_affine(job["affine"]), sitk.sitkLinear, floor)


def save(folder, field, matrix, inverse=None):
    """Write a displacement field (SimpleITK vector image, LPS mm), the matrix that follows it, and the field back."""
    sitk.WriteImage(sitk.Cast(field, sitk.sitkVectorFloat32), str(folder / "field.nii.gz"))
    np.savetxt(folder / "affine.txt", np.asarray(matrix))
    if inverse is not None:
        sitk.WriteImage(sitk.Cast(inverse, sitk.sitkVectorFloat32), str(folder / "inverse_field.nii.gz"))
