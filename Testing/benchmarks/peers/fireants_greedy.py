"""FireANTs (Jena et al., 2024; `fireants`): affine and greedy deformable stages as its quick start has them.

Made for GPUs, whose fused operations are no part of the package; here it computes on the CPU.
"""

import numpy as np
import SimpleITK as sitk
import torch
from _jobs import run, save
from fireants.io import BatchedImages, Image
from fireants.registration.affine import AffineRegistration
from fireants.registration.greedy import GreedyRegistration


def register(job, folder):
    """With its own affine, which starts from the images' centres, or from the job's."""
    torch.set_num_threads(job["threads"])
    fixed, moving = (BatchedImages([Image.load_file(job[side], device="cpu")]) for side in ("fixed", "moving"))
    if "affine" in job:
        start = torch.tensor(job["affine"], dtype=torch.float32)[None]
    else:
        affine = AffineRegistration(
            [4, 2, 1],
            [200, 100, 50],
            fixed,
            moving,
            optimizer="Adam",
            optimizer_lr=3e-3,
            cc_kernel_size=5,
            init_rigid="cof",
            progress_bar=False,
        )
        affine.optimize()
        start = affine.get_affine_matrix().detach()
    greedy = GreedyRegistration(
        scales=[4, 2, 1],
        iterations=[200, 100, 25],
        fixed_images=fixed,
        moving_images=moving,
        cc_kernel_size=5,
        deformation_type="compositive",
        smooth_grad_sigma=1,
        optimizer="adam",
        optimizer_lr=0.5,
        init_affine=start,
        progress_bar=False,
    )
    greedy.optimize()
    # One field with the affine in it, LPS mm.
    file = folder / "fireants.nii.gz"
    greedy.save_as_ants_transforms(str(file))
    save(folder, sitk.ReadImage(str(file)), np.eye(4))


run(register, ("fireants", "torch"))
