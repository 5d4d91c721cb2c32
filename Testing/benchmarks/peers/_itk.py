"""SimpleITK's images for the peers that take ITK's."""

import itk
import numpy as np
import SimpleITK as sitk


def as_itk(image):
    """A SimpleITK image as ITK's."""
    result = itk.image_from_array(sitk.GetArrayFromImage(image))
    result.SetSpacing(image.GetSpacing())
    result.SetOrigin(image.GetOrigin())
    result.SetDirection(np.array(image.GetDirection()).reshape(3, 3))
    return result
