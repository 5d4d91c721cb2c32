"""What the peers' scripts share: a list of jobs comes on stdin, one line of JSON a pair goes out.

A job names the image files, a folder, and, for methods without an affine step of their own, the (4, 4) matrix, fixed to
moving, LPS mm, to start from. A script leaves `field.nii.gz` (LPS mm, fixed space) and `affine.txt` there, to be
applied in this order.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk


def run(method):
    """Call `method(job, folder)` for each job and report its seconds, or why it failed."""
    # Libraries print what they like: the report lines go to the real stdout.
    report, sys.stdout = sys.stdout, sys.stderr
    for job in json.load(sys.stdin):
        started = time.perf_counter()
        try:
            method(job, Path(job["folder"]))
            line = {"seconds": time.perf_counter() - started}
        except Exception as error:
            line = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(line), file=report, flush=True)


def image(path):
    """An image as float32."""
    return sitk.ReadImage(str(path), sitk.sitkFloat32)


def aligned(job):
    """The fixed image, and the moving one resampled onto it through the job's affine start."""
    fixed, moving = image(job["fixed"]), image(job["moving"])
    matrix = np.array(job["affine"])
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(matrix[:3, :3].ravel().tolist())
    affine.SetTranslation(matrix[:3, 3].tolist())
    floor = float(sitk.GetArrayViewFromImage(moving).min())
    return fixed, sitk.Resample(moving, fixed, affine, sitk.sitkLinear, floor)


def save(folder, field, matrix):
    """Write a displacement field (SimpleITK vector image, LPS mm) and the matrix that follows it."""
    sitk.WriteImage(sitk.Cast(field, sitk.sitkVectorFloat32), str(folder / "field.nii.gz"))
    np.savetxt(folder / "affine.txt", np.asarray(matrix))
