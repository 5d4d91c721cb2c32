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
