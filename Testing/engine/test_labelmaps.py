"""Label maps as they come: any whole numbers, and Slicer's segmentations, whose names say what belongs together."""

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Volume
from deepregister.errors import FileError, InputError
from deepregister.labelmaps import LabelMap, read_label_maps


def segmentation(path, data, names):
    """A .seg.nrrd with the header entries that Slicer writes."""
    image = sitk.GetImageFromArray(data, isVector=data.ndim == 4)
    for number, (label, name) in enumerate(names.items()):
        image.SetMetaData(f"Segment{number}_ID", f"Segment_{number + 1}")
        image.SetMetaData(f"Segment{number}_LabelValue", str(label))
        image.SetMetaData(f"Segment{number}_Name", name)
    sitk.WriteImage(image, str(path))
    return path


def blocks(*values):
    data = np.zeros((4, 4, 6), np.uint8)
    for number, value in enumerate(values):
        data[..., 2 * number : 2 * number + 2] = value
    return data


def test_segments_of_one_name_get_one_label(tmp_path):
    fixed = segmentation(tmp_path / "f.seg.nrrd", blocks(1, 2), {1: "liver", 2: "kidney"})
    data = blocks(1, 2, 255)
    moving = segmentation(tmp_path / "m.seg.nrrd", data, {1: "kidney", 2: "liver", 255: "spleen"})
    first, second = read_label_maps(fixed, moving)
    assert first.names == {1: "liver", 2: "kidney"}
    assert second.names == {2: "kidney", 1: "liver", 256: "spleen"}
    np.testing.assert_array_equal(second.volume.data, np.array([0, 2, 1, 256])[np.minimum(data, 3)])


def test_without_names_on_both_sides_labels_stay(tmp_path):
    fixed = segmentation(tmp_path / "f.seg.nrrd", blocks(1, 2), {1: "liver", 2: "kidney"})
    Volume.from_array(blocks(2, 1).astype(np.float32)).write(tmp_path / "m.nii.gz")
    first, second = read_label_maps(fixed, tmp_path / "m.nii.gz")
    assert (first.names, second.names) == ({1: "liver", 2: "kidney"}, {})
    assert second.volume.data.dtype.kind == "i"
    np.testing.assert_array_equal(second.volume.data, blocks(2, 1))


def test_what_is_no_label_map_is_refused(tmp_path):
    Volume.from_array(np.full((3, 3, 3), 0.5, np.float32)).write(tmp_path / "grey.nrrd")
    with pytest.raises(InputError, match=r"grey\.nrrd.*not whole numbers"):
        LabelMap.read(tmp_path / "grey.nrrd")
    overlapping = np.stack([blocks(1), blocks(0, 1)], axis=-1)
    segmentation(tmp_path / "two.seg.nrrd", overlapping, {1: "liver"})
    with pytest.raises(InputError, match=r"two\.seg\.nrrd holds overlapping segments in 2 layers"):
        LabelMap.read(tmp_path / "two.seg.nrrd")
    with pytest.raises(FileError, match="does not exist"):
        LabelMap.read(tmp_path / "none.seg.nrrd")


def test_a_segmentation_whose_text_is_damaged_is_refused_or_named_as_far_as_it_can_be_written(tmp_path):
    path = segmentation(tmp_path / "f.seg.nrrd", blocks(1), {1: "liver"})
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b":=liver", b":=\xffiver"))
    assert LabelMap.read(path).names == {1: "\ufffdiver"}
    path.write_bytes(whole.replace(b"0_LabelValue", b"\xff_LabelValue"))
    with pytest.raises(FileError, match=r"f\.seg\.nrrd: .* is damaged"):
        LabelMap.read(path)


@pytest.mark.parametrize("apart", [True, False])
def test_a_segmentation_that_slicer_wrote(tmp_path, apart):
    slicer = pytest.importorskip("slicer", reason="the real segmentation storage comes with slicer-core")
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    for name, place in (("liver", 2), ("kidney", 5 if apart else 3)):
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(10, 11, 12)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(12, 11, 10)
        voxels[:] = 0
        voxels[place : place + 2, 3:7, 2:8] = 1
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment, name)
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "a.seg.nrrd"))
    assert storage.WriteData(node)
    if not apart:
        with pytest.raises(InputError, match=r"a\.seg\.nrrd holds overlapping segments in 2 layers"):
            LabelMap.read(tmp_path / "a.seg.nrrd")
        return
    read = LabelMap.read(tmp_path / "a.seg.nrrd")
    assert read.names == {1: "liver", 2: "kidney"}
    assert [np.count_nonzero(read.volume.data == label) for label in read.names] == [48, 48]
    # Slicer writes no more than the box around the segments.
    assert read.volume.geometry.size == (6, 4, 5)
