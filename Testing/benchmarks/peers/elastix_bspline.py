"""elastix (Klein et al., 2010; `itk-elastix`): its default affine and B-spline maps, with mutual information.

Stochastic: 256 iterations of 2048 samples at each of four resolutions, control points 10 mm apart.
"""

import itk
import numpy as np
import SimpleITK as sitk
from _itk import as_itk
from _jobs import aligned, run, save


def register(job, folder):
    """Both stages, the affine from the images' centres; or the B-spline alone from the job's affine."""
    parameters = itk.ParameterObject.New()
    if "affine" in job:
        fixed, moving = (as_itk(image) for image in aligned(job))
    else:
        fixed, moving = (itk.imread(job[side], itk.F) for side in ("fixed", "moving"))
        affine = parameters.GetDefaultParameterMap("affine")
        affine["AutomaticTransformInitialization"] = ["true"]
        parameters.AddParameterMap(affine)
    parameters.AddParameterMap(parameters.GetDefaultParameterMap("bspline"))
    # Its number_of_threads stays unset: any value ends the process. ITK's own variable holds for it.
    _, found = itk.elastix_registration_method(
        fixed, moving, parameter_object=parameters, output_directory=str(folder), log_to_console=False
    )
    field = as_simpleitk(itk.transformix_deformation_field(moving, found))
    save(folder, field, job.get("affine", np.eye(4)))


def as_simpleitk(field):
    """ITK's vector image as SimpleITK's."""
    result = sitk.GetImageFromArray(itk.array_from_image(field), isVector=True)
    result.SetSpacing(tuple(field.GetSpacing()))
    result.SetOrigin(tuple(field.GetOrigin()))
    result.SetDirection(itk.array_from_matrix(field.GetDirection()).ravel().tolist())
    return result


run(register, ("itk-elastix",))
