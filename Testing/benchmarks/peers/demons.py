"""Diffeomorphic demons (Vercauteren et al., 2009; SimpleITK) after histogram matching, from a given affine."""

import SimpleITK as sitk
from _jobs import aligned, run, save


def register(job, folder):
    """Coarse to fine, the field of one level starting the next."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(job["threads"])
    fixed, moving = aligned(job)
    moving = sitk.HistogramMatching(moving, fixed, 1024, 7, True)
    field = None
    for shrink, iterations in ((4, 100), (2, 60), (1, 20)):
        shrinks = [min(shrink, max(1, n // 8)) for n in fixed.GetSize()]
        small = [sitk.Shrink(sitk.SmoothingRecursiveGaussian(x, 0.5 * shrink), shrinks) for x in (fixed, moving)]
        demons = sitk.DiffeomorphicDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetSmoothDisplacementField(True)
        demons.SetStandardDeviations(1.5)
        if field is None:
            field = demons.Execute(*small)
        else:
            field = demons.Execute(*small, sitk.Resample(field, small[0], sitk.Transform(), sitk.sitkLinear))
    save(folder, field, job["affine"])


run(register, ("SimpleITK",))
