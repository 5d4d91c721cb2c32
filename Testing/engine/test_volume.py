"""Voxels with their grid: handed to SimpleITK and back, and what cannot be a volume."""

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Geometry, Volume
from deepregister.errors import GeometryError, InputError
from deepregister.volume import as_volume
from geometries import axis_changes, geometries, relabelled
from hypothesis import given
from hypothesis import strategies as st

TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]


def numbered(geometry, dtype="f4"):
    return Volume(np.arange(np.prod(geometry.shape)).reshape(geometry.shape).astype(dtype), geometry)


@given(geometries(), st.sampled_from(TYPES))
def test_simpleitk_holds_the_same_voxels_at_the_same_places(geometry, dtype):
    volume = numbered(geometry, dtype)
    image = volume.to_sitk()
    i, j, k = (n // 2 for n in geometry.size)
    assert image[i, j, k] == volume.data[k, j, i]
    assert image.TransformIndexToPhysicalPoint((i, j, k)) == pytest.approx(geometry.index_to_point([i, j, k]), abs=1e-9)
    back = Volume.from_sitk(image)
    assert back.data.dtype == volume.data.dtype
    assert np.array_equal(back.data, volume.data)
    assert back.geometry.same_grid(geometry, 1e-9)


@pytest.mark.parametrize("dtype", [">f4", ">i2", ">u4", "f2", "longdouble", "bool"])
def test_array_types_that_itk_does_not_know_are_converted(dtype):
    data = (np.arange(24).reshape(2, 3, 4) % 2).astype(dtype)
    image = Volume.from_array(data).to_sitk()
    assert np.array_equal(sitk.GetArrayFromImage(image).astype(float), data.astype(float))


def test_a_view_with_strides_is_written_in_its_own_order():
    data = np.arange(120.0).reshape(4, 5, 6)[::-1, ::2].transpose(2, 0, 1)
    assert np.array_equal(sitk.GetArrayFromImage(Volume.from_array(data).to_sitk()), data)


def test_from_array_places_the_voxels():
    volume = Volume.from_array(np.zeros((2, 3, 4)), (1, 2, 3), (7, 8, 9), ((0, -1, 0), (1, 0, 0), (0, 0, 1)))
    assert volume.geometry.size == (4, 3, 2)
    assert volume.geometry.index_to_point([1, 1, 1]) == pytest.approx([7 - 2, 8 + 1, 9 + 3])


def test_one_frame_of_four_dimensions_is_a_volume():
    frame = Volume.from_array(np.arange(24.0).reshape(2, 3, 4), (1, 2, 3), (5, 6, 7)).to_sitk()
    volume = Volume.from_sitk(sitk.JoinSeries([frame]))
    assert volume.geometry.same_grid(Geometry.from_sitk(frame))
    assert np.array_equal(volume.data, sitk.GetArrayFromImage(frame))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (sitk.Image([8, 9], sitk.sitkUInt8), "two-dimensional image (8x9)"),
        (sitk.Image([4, 5, 6], sitk.sitkVectorUInt8, 3), "3 components"),
        (sitk.Image([4, 5, 6], sitk.sitkComplexFloat32), "real numbers, not complex64"),
        (sitk.JoinSeries([sitk.Image(4, 5, 6, sitk.sitkInt16)] * 3), "series of 3 volumes (4x5x6x3). Pick one frame"),
        (sitk.Image([2, 2, 2, 2, 2], sitk.sitkInt16), "5 dimensions"),
    ],
)
def test_refuses_images_that_are_no_scalar_volume(image, words):
    with pytest.raises(InputError) as error:
        Volume.from_sitk(image, "head.nii.gz")
    assert "head.nii.gz" in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((3, 4)), "(3, 4)"),
        (np.zeros((2, 3, 4, 3)), "(2, 3, 4, 3)"),
        (np.zeros((2, 3, 4), dtype=complex), "complex128"),
        (np.full((2, 3, 4), "a"), "real numbers"),
        (np.zeros((4, 3, 2)), "(4, 3, 2)"),
    ],
)
def test_refuses_arrays_that_are_no_scalar_volume(data, words):
    with pytest.raises(InputError) as error:
        Volume(data, Geometry((4, 3, 2)), "head")
    assert "head" in str(error.value)
    assert words in str(error.value)


def test_from_array_refuses_two_dimensions():
    with pytest.raises(InputError, match=r"head.*shape"):
        Volume.from_array(np.zeros((3, 4)), name="head")


def test_a_sheared_image_is_refused_by_name():
    image = sitk.Image([4, 4, 4], sitk.sitkUInt8)
    image.SetDirection([1, 0.2, 0, 0, 1, 0, 0, 0, 1])
    with pytest.raises(GeometryError, match=r"head\.nrrd: .*right angles"):
        Volume.from_sitk(image, "head.nrrd")


def test_as_volume_takes_what_a_caller_has(tmp_path):
    volume = numbered(Geometry((4, 3, 2), (1, 2, 3)))
    volume.write(tmp_path / "head.nrrd")
    assert as_volume(volume) is volume
    for image in (volume.to_sitk(), tmp_path / "head.nrrd", str(tmp_path / "head.nrrd")):
        taken = as_volume(image)
        assert np.array_equal(taken.data, volume.data)
        assert taken.geometry.same_grid(volume.geometry)


def test_as_volume_refuses_an_array_alone():
    with pytest.raises(InputError, match=r"moving image is a ndarray.*does not say where it lies"):
        as_volume(np.zeros((2, 3, 4)), "moving image")


def test_volumes_are_compared_and_hashed_as_objects():
    volume = numbered(Geometry((4, 3, 2)))
    assert volume != numbered(Geometry((4, 3, 2)))
    assert len({volume, volume}) == 1


def test_astype_keeps_the_rest():
    volume = numbered(Geometry((4, 3, 2), (1, 2, 3)), "i2")
    assert volume.astype(np.float32).data.dtype == np.float32
    assert volume.astype(np.float32).geometry == volume.geometry


def test_repr_says_name_grid_and_type():
    assert repr(Volume(np.zeros((2, 3, 4), "i2"), Geometry((4, 3, 2)), "head")) == (
        "Volume('head', 4x3x2 voxels of 1x1x1 mm, int16)"
    )


@given(st.data(), axis_changes())
def test_the_canonical_volume_is_the_same_however_the_voxels_are_stored(data, change):
    geometry = data.draw(geometries())
    array = np.arange(np.prod(geometry.size), dtype=np.float32).reshape(geometry.shape)
    canonical = Volume(array, geometry).canonical()
    other, stored = relabelled(geometry, array, *change)
    assert canonical.geometry == geometry.canonical()
    # Every voxel is still where it was.
    index = np.rint(geometry.point_to_index(canonical.geometry.points())).astype(int)
    assert np.array_equal(array[index[..., 2], index[..., 1], index[..., 0]], canonical.data)
    again = Volume(stored, other).canonical()
    if again.geometry.same_grid(canonical.geometry, 1e-9):
        assert np.array_equal(again.data, canonical.data)
