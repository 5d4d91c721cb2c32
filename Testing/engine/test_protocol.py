"""Values that cross the process boundary come back equal, and errors come back as what they were."""

import json

import deepregister
import numpy as np
import pytest
from deepregister import Affine, Composite, DisplacementField, Registration, Rigid, Settings, Volume
from deepregister.errors import Cancelled, DeepRegisterError, GeometryError, InputError, WorkerError
from deepregister.landmarks import LandmarkPairs
from deepregister.protocol import describe_error, pack, rebuild_error, unpack
from deepregister.transforms import LinearTransform

OBLIQUE = np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.2, 1.0, 0.3], [0.1, -0.3, -1.0]]))[0]


def travel(value, folder):
    """What the other side gets: through files and one line of JSON."""
    return unpack(json.loads(json.dumps(pack(value, folder, "value"))), folder)


def oblique_volume(data):
    return Volume.from_array(data, (0.7, 1.3, 1 / 3), (-12.25, 0.1, 1e3), OBLIQUE, name="CT ä 1")


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "f4", "f8", "?", ">i2"])
def test_volume_keeps_voxels_type_geometry_and_name(dtype, tmp_path):
    volume = oblique_volume((np.arange(2 * 3 * 4).reshape(2, 3, 4) * 5).astype(dtype))
    back = travel(volume, tmp_path)
    assert back.data.dtype == volume.data.dtype
    assert np.array_equal(back.data, volume.data)
    assert back.geometry == volume.geometry
    assert back.name == volume.name


def test_volume_that_is_a_view_travels(tmp_path):
    data = np.arange(8 * 6 * 4, dtype=np.float32).reshape(4, 6, 8).T[::2, ::-1]
    assert np.array_equal(travel(oblique_volume(data), tmp_path).data, data)


def test_transforms_keep_their_kinds_and_numbers(tmp_path):
    generator = np.random.default_rng(0)
    geometry = oblique_volume(np.zeros((3, 4, 5), np.float32)).geometry
    field = DisplacementField(generator.normal(size=(3, 4, 5, 3)), geometry)
    affine = Affine(np.vstack([np.eye(3, 4) + 0.1 * generator.normal(size=(3, 4)), [0, 0, 0, 1]]))
    rigid = Rigid(np.vstack([np.column_stack([OBLIQUE * np.linalg.det(OBLIQUE), [1, 2, 3]]), [0, 0, 0, 1]]))
    back = travel(Composite((field, affine, rigid, LinearTransform.identity())), tmp_path)
    assert [type(part) for part in back.parts] == [DisplacementField, Affine, Rigid, LinearTransform]
    assert np.array_equal(back.parts[0].displacement, field.displacement)
    assert back.parts[0].geometry == geometry
    assert np.array_equal(back.parts[1].matrix, affine.matrix)
    np.testing.assert_allclose(back.parts[2].matrix, rigid.matrix, rtol=0, atol=1e-14)


def test_registration_comes_back_whole(tmp_path):
    volume = oblique_volume(np.ones((3, 4, 5), np.int16))
    registration = Registration(
        transform=Affine(np.diag([1.1, 1, 1, 1])),
        inverse=Affine(np.diag([1 / 1.1, 1, 1, 1])),
        registered=volume,
        settings=Settings(model="affine", quality="fast", seed=3),
        measures={"similarity_after": 0.5, "folded_fraction": None, "labels": {"1": [0.25, float("nan")]}},
        seconds={"align": 1.5},
        device="CPU, 2 threads",
        warnings=("first", "second"),
        versions={"deepregister": "0.1.0"},
        inputs={"fixed": {"name": "a"}},
    )
    back = travel(registration, tmp_path)
    assert isinstance(back, Registration)
    assert np.array_equal(back.transform.matrix, registration.transform.matrix)
    assert np.array_equal(back.inverse.matrix, registration.inverse.matrix)
    assert np.array_equal(back.registered.data, volume.data)
    for name in ("settings", "seconds", "device", "warnings", "versions", "inputs"):
        assert getattr(back, name) == getattr(registration, name)
    assert np.isnan(back.measures["labels"]["1"].pop())
    assert back.measures == {"similarity_after": 0.5, "folded_fraction": None, "labels": {"1": [0.25]}}


def test_landmarks_and_settings_travel_among_other_arguments(tmp_path):
    pairs = LandmarkPairs([[0.1, 2, 3]], [[4, 5, 1 / 3]], ("tip",))
    back = travel({"landmarks": pairs, "settings": Settings(landmark_sigma_mm=0.5), "initial": None}, tmp_path)
    assert np.array_equal(back["landmarks"].fixed, pairs.fixed)
    assert np.array_equal(back["landmarks"].moving, pairs.moving)
    assert back["landmarks"].labels == ("tip",)
    assert back["settings"] == Settings(landmark_sigma_mm=0.5)
    assert back["initial"] is None


def test_two_volumes_in_one_message_do_not_share_a_file(tmp_path):
    one, two = (oblique_volume(np.full((2, 2, 2), n)) for n in (1, 2))
    back = travel({"fixed": one, "moving": two}, tmp_path)
    assert back["fixed"].data.max() == 1
    assert back["moving"].data.min() == 2


def test_what_cannot_travel_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="value-initial: a object"):
        pack({"initial": object()}, tmp_path, "value")


def test_a_kind_from_elsewhere_is_refused(tmp_path):
    packed = {**pack(Settings(), tmp_path, "value"), "__kind__": "Path"}
    with pytest.raises(ValueError, match="'Path'"):
        unpack(packed, tmp_path)


@pytest.mark.parametrize("kind", [InputError, GeometryError, Cancelled, WorkerError])
def test_errors_keep_class_and_text(kind):
    back = rebuild_error(**describe_error(kind("Spacing 0 mm. Correct the header.")))
    assert type(back) is kind
    assert str(back) == "Spacing 0 mm. Correct the header."


def test_error_class_of_a_room_travels_as_the_nearest_known_one():
    class NoSuchModel(deepregister.errors.ModelError):
        pass

    back = rebuild_error(**describe_error(NoSuchModel("There is no model 'x'.")))
    assert type(back) is deepregister.errors.ModelError
    assert type(rebuild_error("OSError", "text")) is WorkerError
    assert issubclass(WorkerError, DeepRegisterError)
