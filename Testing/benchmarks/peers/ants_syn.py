"""ANTs SyN (Avants et al., 2008; `antspyx`): what the scripts antsRegistrationSyN(Quick).sh do.

The quick form maximises mutual information (32 bins, 100x70x50x0 iterations), the other one cross-correlation
(100x70x50x20); the package sets its radius to 2. From our affine the deformable stage runs alone.
"""

import ants
import SimpleITK as sitk
from _jobs import itk_affine, matrix_of, run, save


def register(job, folder):
    """The whole of `ants.registration`, or its deformable stage from the job's affine."""
    start = None
    if "affine" in job:
        start = [str(folder / "start.mat")]
        sitk.WriteTransform(itk_affine(job["affine"]), start[0])
    result = ants.registration(
        ants.image_read(job["fixed"]), ants.image_read(job["moving"]), job["kind"], initial_transform=start
    )
    field, affine = result["fwdtransforms"]
    inverse = next(name for name in result["invtransforms"] if name.endswith("InverseWarp.nii.gz"))
    save(folder, sitk.ReadImage(field), matrix_of(sitk.ReadTransform(affine)), sitk.ReadImage(inverse))


run(register, ("antspyx",))
