"""Images from files and folders: what is read is where and what was written, or there is an error that says why not."""

import gzip
import itertools
import os
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Geometry, Volume
from deepregister.errors import FileError, GeometryError, InputError
from dicom import write_ct
from geometries import geometries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

OBLIQUE = Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix()
GRID = Geometry((12, 10, 8), (0.7, 0.9, 2.5), (-100, 50, 30), OBLIQUE)
with_folder = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


def some_volume(geometry=GRID, dtype="i2"):
    return Volume(np.random.default_rng(0).integers(0, 1000, size=geometry.shape).astype(dtype), geometry)


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd", "img"])
@with_folder
@given(geometries())
def test_files_hold_the_same_voxels_at_the_same_places(ending, tmp_path, geometry):
    volume = some_volume(geometry)
    volume.write(tmp_path / f"head.{ending}")
    back = Volume.read(tmp_path / f"head.{ending}")
    assert np.array_equal(back.data, volume.data)
    # NIfTI keeps directions in single precision.
    assert back.geometry.same_grid(geometry, 1e-3 if ending in ("nii", "nii.gz", "img") else 1e-6)
    assert back.name == f"head.{ending}"


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_files_keep_the_type(tmp_path, dtype):
    some_volume(dtype=dtype).write(tmp_path / "head.nrrd")
    assert Volume.read(tmp_path / "head.nrrd").data.dtype == np.dtype(dtype)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileError, match=r"nowhere\.nii\.gz does not exist"):
        Volume.read(tmp_path / "nowhere.nii.gz")


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "mha", "dcm", "xyz"])
@pytest.mark.parametrize("content", [b"", b"no image at all\n" * 50])
def test_files_that_are_no_images_are_refused(tmp_path, ending, content):
    path = tmp_path / f"head.{ending}"
    path.write_bytes(content)
    with pytest.raises(FileError) as error:
        Volume.read(path)
    assert str(path) in str(error.value)
    assert "ERROR" not in str(error.value)


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "mha"])
@with_folder
@given(share=st.floats(0, 0.999))
def test_files_cut_off_anywhere_are_refused(ending, tmp_path, share):
    whole = tmp_path / f"whole.{ending}"
    if not whole.exists():
        some_volume(dtype="f4").write(whole)
    content = whole.read_bytes()
    cut = tmp_path / f"cut.{ending}"
    cut.write_bytes(content[: int(share * len(content))])
    try:
        found = Volume.read(cut)
    except FileError as error:
        assert f"cut.{ending}" in str(error)
    else:
        # The last eight bytes of what gzip makes are checksum and size, after all of the voxels.
        assert ending in ("nrrd", "nii.gz") and len(content) - cut.stat().st_size <= 8
        assert np.array_equal(found.data, some_volume(dtype="f4").data)


@pytest.mark.parametrize("members", [1, 3])
def test_nifti_files_compressed_in_one_or_several_members_are_whole(tmp_path, members):
    some_volume().write(tmp_path / "head.nii")
    content = (tmp_path / "head.nii").read_bytes()
    bounds = np.linspace(0, len(content), members + 1).astype(int)
    packed = b"".join(gzip.compress(content[a:b]) for a, b in itertools.pairwise(bounds))
    (tmp_path / "head.nii.gz").write_bytes(packed)
    assert np.array_equal(Volume.read(tmp_path / "head.nii.gz").data, some_volume().data)


@pytest.mark.parametrize(("order", "said"), [("<", "<"), (">", ">"), (">", "<")])
def test_headers_of_either_byte_order_are_measured(tmp_path, order, said):
    header = bytearray(352)
    # ITK does not look at this number, which tells the order, too.
    struct.pack_into(f"{said}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, 3, 4, 3, 2, 1, 1, 1, 1)
    struct.pack_into(f"{order}2h", header, 70, 4, 16)
    struct.pack_into(f"{order}9f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1, 352)
    header[344:347] = b"n+1"
    voxels = np.arange(24, dtype=f"{order}i2")
    path = tmp_path / "head.nii"
    path.write_bytes(bytes(header) + voxels.tobytes())
    assert np.array_equal(Volume.read(path).data, voxels.reshape(2, 3, 4))
    path.write_bytes(bytes(header) + voxels.tobytes()[:-1])
    # Where the header says that the voxels begin in front of it, or nowhere, they are looked for behind it.
    for start in (352, -1e9, float("nan")):
        struct.pack_into(f"{order}f", header, 108, start)
        path.write_bytes(bytes(header) + voxels.tobytes()[:-1])
        with pytest.raises(FileError, match="399 of 400 bytes"):
            Volume.read(path)


def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    some_volume().write(tmp_path / "head.nii.gz")
    (tmp_path / "head.nii.gz").chmod(0)
    if os.access(tmp_path / "head.nii.gz", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(FileError, match=r"head\.nii\.gz"):
        Volume.read(tmp_path / "head.nii.gz")


@pytest.mark.parametrize(
    ("name", "image", "words"),
    [
        ("photo.png", sitk.Image([8, 9], sitk.sitkVectorUInt8, 3), "3 components"),
        ("slice.png", sitk.Image([8, 9], sitk.sitkUInt8), "two-dimensional image (8x9)"),
        ("slice.nii.gz", sitk.Image([8, 9], sitk.sitkUInt8), "two-dimensional image (8x9)"),
        ("field.nii.gz", sitk.Image([4, 5, 6], sitk.sitkVectorFloat32, 3), "3 components"),
        ("colour.nrrd", sitk.Image([4, 5, 6], sitk.sitkVectorUInt8, 3), "3 components"),
    ],
)
def test_pictures_and_vectors_are_refused(tmp_path, name, image, words):
    sitk.WriteImage(image, str(tmp_path / name))
    with pytest.raises(InputError) as error:
        Volume.read(tmp_path / name)
    assert name in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_one_frame_of_a_series_is_read_where_it_lies(tmp_path, ending):
    frames = [some_volume(GRID, "f4").to_sitk() + n for n in range(3)]
    path = tmp_path / f"series.{ending}"
    sitk.WriteImage(sitk.JoinSeries(frames), str(path))
    with pytest.raises(InputError, match=r"series of 3 volumes \(12x10x8x3\). Pick one frame"):
        Volume.read(path)
    for frame in (3, -1):
        with pytest.raises(InputError, match=f"frames 0 to 2; there is no frame {frame}"):
            Volume.read(path, frame=frame)
    volume = Volume.read(path, frame=2)
    assert np.array_equal(volume.data, some_volume(GRID, "f4").data + 2)
    assert volume.geometry.same_grid(GRID, 1e-3)


def test_a_single_volume_has_no_second_frame(tmp_path):
    some_volume().write(tmp_path / "head.nrrd")
    assert Volume.read(tmp_path / "head.nrrd", frame=0).data.shape == GRID.shape
    with pytest.raises(InputError, match="no frame 1"):
        Volume.read(tmp_path / "head.nrrd", frame=1)


def meta_image(path, **changed):
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "ElementSpacing": "1 1 1",
        "DimSize": "4 4 4",
        "ElementType": "MET_FLOAT",
        "ElementDataFile": "LOCAL",
        **changed,
    }
    path.write_bytes("".join(f"{key} = {value}\n" for key, value in header.items()).encode() + bytes(256))


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"ElementSpacing": "0 1 1"}, FileError, "Zero-valued spacing"),
        ({"TransformMatrix": "1 0 0 0.2 0.98 0 0 0 1"}, GeometryError, "right angles"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, FileError, "determinant"),
        ({"DimSize": "4 4 0"}, GeometryError, "(4, 4, 0)"),
    ],
)
def test_impossible_headers_are_refused(tmp_path, changed, kind, words):
    meta_image(tmp_path / "head.mha", **changed)
    with pytest.raises(kind) as error:
        Volume.read(tmp_path / "head.mha")
    assert "head.mha" in str(error.value)
    assert words in str(error.value)


def test_a_sheared_nifti_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "head.nii"
    some_volume(Geometry((6, 5, 4)), "f4").write(path)
    header = bytearray(path.read_bytes())
    struct.pack_into("<h", header, 252, 0)  # no quaternion, so that the sheared matrix counts
    struct.pack_into("<4f", header, 280, -1, 0.3, 0, 0)
    path.write_bytes(bytes(header))
    with pytest.raises(GeometryError, match=r"right angles.*gantry.*3D Slicer"):
        Volume.read(path)


def test_a_dicom_folder_is_one_volume(tmp_path):
    volume = some_volume()
    write_ct(tmp_path / "ct", volume.data, GRID)
    back = Volume.read(tmp_path / "ct")
    assert np.array_equal(back.data, volume.data)
    assert back.geometry.same_grid(GRID, 1e-4)
    assert back.name == "ct"
    assert Volume.read(tmp_path / "ct", frame=0).data.shape == GRID.shape
    with pytest.raises(InputError, match="no frame 1"):
        Volume.read(tmp_path / "ct", frame=1)


def test_a_folder_with_two_series_is_refused(tmp_path):
    write_ct(tmp_path / "ct", some_volume().data, GRID)
    write_ct(tmp_path / "ct", some_volume().data[:5], GRID, uid="1.2.826.0.1.3680043.8.498.2")
    with pytest.raises(FileError, match=r"2 DICOM series \([58] slices.*folder of its own"):
        Volume.read(tmp_path / "ct")


def test_a_series_with_a_missing_slice_is_refused(tmp_path):
    write_ct(tmp_path / "ct", some_volume().data, GRID, skip=(3,))
    with pytest.raises(GeometryError, match=r"7 slices.*2\.5 to 5 mm apart"):
        Volume.read(tmp_path / "ct")


def test_a_tilted_gantry_is_refused_with_the_remedy(tmp_path):
    write_ct(tmp_path / "ct", some_volume().data, GRID, tilt_mm=0.5)
    with pytest.raises(GeometryError, match=r"ct are tilted by 11\.3 degrees.*gantry.*3D Slicer"):
        Volume.read(tmp_path / "ct")


@pytest.mark.parametrize("backwards", [False, True])
def test_slices_may_run_either_way(tmp_path, backwards):
    grid = Geometry((6, 5, 4), (1, 1, 2), direction=((1, 0, 0), (0, 1, 0), (0, 0, -1 if backwards else 1)))
    volume = some_volume(grid)
    write_ct(tmp_path / "ct", volume.data, grid)
    back = Volume.read(tmp_path / "ct")
    for index in [(0, 0, 0), (5, 4, 3), (2, 1, 1)]:
        i, j, k = np.rint(back.geometry.point_to_index(grid.index_to_point(index))).astype(int)
        assert back.data[k, j, i] == volume.data[index[::-1]]


def test_a_single_dicom_slice_is_no_volume(tmp_path):
    write_ct(tmp_path / "ct", some_volume().data[:1], GRID)
    (file,) = (tmp_path / "ct").iterdir()
    for path in (tmp_path / "ct", file):
        with pytest.raises(InputError, match=r"two-dimensional image \(12x10\).*folder that holds all its slices"):
            Volume.read(path)


def test_a_folder_without_dicom_files_is_refused(tmp_path):
    with pytest.raises(FileError, match="no DICOM series"):
        Volume.read(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(FileError, match="no DICOM series"):
        Volume.read(tmp_path)
