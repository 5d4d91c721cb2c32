"""greedy (Yushkevich et al., 2016; `picsl-greedy`): NCC of radius 2, 100x50x10 iterations, as its tutorial has it."""

import numpy as np
import SimpleITK as sitk
from _jobs import run, save
from picsl_greedy import Greedy3D

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def register(job, folder):
    """With greedy's own affine, or from the job's."""
    greedy = Greedy3D()
    images = f"-i {job['fixed']} {job['moving']} -threads {job['threads']}"
    matrix_file, field_file = folder / "greedy.mat", folder / "greedy_field.nii.gz"
    if "affine" in job:
        np.savetxt(matrix_file, FLIP @ np.array(job["affine"]) @ FLIP)
    else:
        greedy.execute(f"{images} -a -dof 12 -m NCC 2x2x2 -ia-image-centers -n 100x50x10 -o {matrix_file}")
    greedy.execute(f"{images} -m NCC 2x2x2 -it {matrix_file} -n 100x50x10 -s 1.732vox 0.707vox -o {field_file}")
    save(folder, sitk.ReadImage(str(field_file)), FLIP @ np.loadtxt(matrix_file) @ FLIP)


run(register, ("picsl-greedy",))
