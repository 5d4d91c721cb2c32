"""Registration of nodes through the real worker process, on small volumes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import slicer
from deepregister import Settings, Volume
from deepregister.errors import Cancelled, InputError, ModelError, WorkerError
from DeepRegisterLib.scene.frame import transformedPoints
from DeepRegisterLib.scene.grids import LOSS_ANYWHERE, LOSS_NEARLY_EVERYWHERE
from DeepRegisterLib.scene.logic import RegistrationLogic
from DeepRegisterLib.scene.provenance import recordedSettings
from scenery import SliceView, addVolume, centred, dump, rigid, sliceOf

FIXED = centred((36, 34, 32), (1.4, 1.5, 1.6), 14)
MOVING = centred((40, 42, 38), (1.5, 1.4, 1.5), -9, (1, 0.2, 0.4), flips=(1, -1, 1))
TRUTH = rigid(FIXED, degrees=7, shift=(3, -2, 2))


@pytest.fixture
def fixed(scene):
    return addVolume(scene, blobs(FIXED), "CT")


@pytest.fixture
def moving(scene):
    return addVolume(scene, blobs(MOVING, TRUTH.inverse()), "MR")


def blobs(geometry, toFixed=None):
    """An image made of the same blobs whatever the grid; `toFixed` takes its points to where the blobs are defined."""
    points = geometry.points()
    points = points if toFixed is None else toFixed.apply_to_points(points)
    generator = np.random.default_rng(4)
    image = np.zeros(geometry.shape)
    for centre in FIXED.centre + generator.uniform(-16, 16, (24, 3)):
        widths = generator.uniform(3, 7, 3)
        image += generator.uniform(40, 120) * np.exp(-0.5 * (((points - centre) / widths) ** 2).sum(axis=-1))
    return Volume(image.astype(np.float32), geometry, "blobs")


def test_a_rigid_registration_finds_the_known_transform(scene, logic, fixed, moving):
    reports = []
    nodes = logic.register(fixed, moving, "rigid", "fast", progress=reports.append)
    points = FIXED.points()[4:-4:4, 4:-4:4, 4:-4:4]
    seen = transformedPoints(nodes.transformNode.GetTransformFromParent(), points)
    error = np.linalg.norm(seen - TRUTH.apply_to_points(points), axis=-1)
    assert error.max() < 1.0
    assert nodes.transformNode.GetClassName() == "vtkMRMLLinearTransformNode"
    assert moving.GetParentTransformNode() is nodes.transformNode
    assert [report.fraction for report in reports] == sorted(report.fraction for report in reports)
    assert reports[-1].fraction == 1
    assert recordedSettings(nodes.transformNode) == nodes.registration.settings
    assert nodes.registration.measures["similarity_after"] > nodes.registration.measures["similarity_before"]


def test_regions_reach_the_engine(scene, logic, fixed, moving):
    halves = np.ones(FIXED.shape, np.uint8)
    halves[:, :, 18:] = 2
    node = addVolume(scene, Volume(halves, FIXED), "halves", "vtkMRMLLabelMapVolumeNode")
    # A rigid run is quick, and says that it has no use for them.
    result = logic.register(fixed, moving, "rigid", "fast", regionsNode=node).registration
    assert result.inputs["regions"]["name"] == "halves"
    assert any("regions have no effect" in warning for warning in result.warnings)


def test_a_deformable_registration_is_seen_as_the_engine_made_it(host, logic, fixed, moving):
    nodes = logic.register(fixed, moving, "deformable", "fast", createInverse=True)
    engine = nodes.registration.transform
    points = FIXED.points().reshape(-1, 3)
    distance = np.linalg.norm(
        transformedPoints(nodes.transformNode.GetTransformFromParent(), points) - engine.apply_to_points(points),
        axis=-1,
    )
    voxel = min(FIXED.spacing)
    assert distance.max() < LOSS_ANYWHERE * voxel and np.quantile(distance, 0.99) < LOSS_NEARLY_EVERYWHERE * voxel
    view = SliceView(host, moving)
    for k in (8, 16, 24):
        plane = view.show(sliceOf(FIXED, k))
        registered = nodes.registration.registered.data[k]
        np.testing.assert_allclose(view.pixels()[0], registered, atol=0.05 * np.ptp(registered))
        assert np.abs(view.pixels()[0] - registered).mean() < 0.005 * np.ptp(registered)
        assert plane.shape == (1, *registered.shape)
    shown = slicer.util.arrayFromVolume(nodes.registeredVolumeNode)
    np.testing.assert_array_equal(shown, nodes.registration.registered.data)
    inverse = transformedPoints(nodes.inverseTransformNode.GetTransformFromParent(), engine.apply_to_points(points))
    assert np.median(np.linalg.norm(inverse - points, axis=-1)) < 0.2


def test_settings_in_one_value_steer_the_run(logic, fixed, moving):
    settings = Settings(model="affine", quality="fast", device="cpu", seed=3, threads=1)
    nodes = logic.register(fixed, moving, settings=settings, createRegisteredVolume=False)
    assert nodes.registration.settings == settings
    assert nodes.transformNode.GetName() == "MR to CT (affine)"
    assert nodes.registeredVolumeNode is None


def test_a_cancelled_run_changes_nothing(scene, logic, fixed, moving):
    before = dump(scene)
    running = logic.start(fixed, moving, "deformable", "accurate")
    assert not running.done
    assert dump(scene) == before
    while not running.poll():
        time.sleep(0.02)
    running.cancel()
    with pytest.raises(Cancelled):
        running.finish()
    assert running.done and dump(scene) == before


def test_a_caller_that_raises_in_its_progress_stops_the_run(scene, logic, fixed, moving):
    before = dump(scene)

    def progress(report):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        logic.register(fixed, moving, "deformable", "accurate", progress=progress)
    assert dump(scene) == before
    assert logic.register(fixed, moving, "rigid", "fast").transformNode is not None


def test_the_engines_error_arrives_as_it_is_and_nothing_changes(scene, logic, fixed):
    flat = addVolume(scene, Volume(np.full(MOVING.shape, 7.0, dtype=np.float32), MOVING), "empty scan")
    before = dump(scene)
    with pytest.raises(InputError, match="empty scan"):
        logic.register(fixed, flat, "rigid", "fast")
    assert dump(scene) == before


def test_an_unknown_model_is_refused(scene, logic, fixed, moving):
    before = dump(scene)
    with pytest.raises(ModelError, match="no model 'telepathy'"):
        logic.register(fixed, moving, "telepathy")
    assert dump(scene) == before


def test_a_killed_worker_changes_nothing_and_the_next_run_works(scene, logic, fixed, moving):
    before = dump(scene)
    running = logic.start(fixed, moving, "deformable", "accurate")
    # A run that has not begun would go to the next worker.
    while not running.poll():
        time.sleep(0.02)
    os.kill(logic.client.pid, signal.SIGTERM)
    with pytest.raises(WorkerError):
        running.finish()
    assert dump(scene) == before
    assert logic.register(fixed, moving, "rigid", "fast").transformNode is not None


def test_a_volume_removed_during_the_run_is_named_and_nothing_else_changes(scene, logic, fixed, moving):
    running = logic.start(fixed, moving, "rigid", "fast")
    scene.RemoveNode(moving)
    before = dump(scene)
    with pytest.raises(InputError, match="MR was removed from the scene"):
        running.finish()
    assert dump(scene) == before


def test_the_panels_way_of_polling_ends_with_the_same_nodes(scene, logic, fixed, moving):
    running = logic.start(fixed, moving, "rigid", "fast")
    reports = []
    while not running.done:
        reports += running.poll()
        time.sleep(0.02)
    nodes = running.finish()
    assert reports and nodes is running.finish()
    assert scene.GetNumberOfNodesByClass("vtkMRMLLinearTransformNode") == 1


def test_models_are_those_of_the_registry(logic):
    assert {"rigid", "affine", "deformable"} <= {card.name for card in logic.models()}


def test_a_learned_model_in_the_users_own_folder_runs(fixed, moving, tmp_path, monkeypatch):
    from deepregister.models.registry import user_models_dir
    from toymodels import toy_model

    # Where each system keeps such a folder.
    for name in ("XDG_DATA_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    toy_model(user_models_dir() / "toy", "pyramid", 1.0)
    logic = RegistrationLogic()
    try:
        assert "toy" in [card.name for card in logic.models()]
        nodes = logic.register(fixed, moving, "toy", "fast", createInverse=True)
    finally:
        logic.close()
    assert nodes.registration.settings.model == "toy" and nodes.registration.measures["folded_fraction"] == 0
    assert nodes.transformNode.IsA("vtkMRMLGridTransformNode") and nodes.inverseTransformNode is not None


def test_a_logic_of_its_own_starts_and_ends_its_worker(fixed, moving):
    logic = RegistrationLogic()
    logic.close()
    nodes = logic.register(fixed, moving, "rigid", "fast", createRegisteredVolume=False)
    assert logic.client.pid is not None and nodes.transformNode is not None
    logic.close()
    assert logic.client.pid is None


def test_a_pair_of_real_images(host, logic, shared_data):
    images = sorted((shared_data / "hippocampus" / "images").glob("*.nii.gz"))
    fixedNode, movingNode = (addVolume(host.scene, Volume.read(path), path.stem) for path in images[:2])
    nodes = logic.register(fixedNode, movingNode, "deformable", "fast")
    measures = nodes.registration.measures
    assert measures["similarity_after"] > measures["similarity_before"] and measures["folded_fraction"] == 0
    geometry = nodes.registration.registered.geometry
    view = SliceView(host, movingNode)
    view.show(sliceOf(geometry, geometry.size[2] // 2))
    registered = nodes.registration.registered.data[geometry.size[2] // 2].astype(float)
    assert np.abs(view.pixels()[0] - registered).mean() < 0.02 * np.ptp(registered)


_WITHOUT_TORCH = """
import sys
sys.path[:0] = {folders!r}
import headless_slicer
headless_slicer.start()
import slicer
from DeepRegisterLib.scene.logic import RegistrationLogic
from scenery import addVolume, centred, texture
nodes = [addVolume(slicer.mrmlScene, texture(centred((20, 20, 20), (2, 2, 2)), 1), name) for name in "ab"]
logic = RegistrationLogic()
print(logic.register(*nodes, model="rigid", quality="fast").transformNode.GetName())
logic.close()
print(sorted(name for name in sys.modules if name.split(".")[0] in ("torch", "qt", "PySide6", "PythonQt")))
"""


def test_no_torch_and_no_qt_in_slicers_process():
    here = Path(__file__).resolve()
    folders = [str(here.parent), str(here.parents[1]), str(here.parents[2] / "DeepRegister")]
    script = _WITHOUT_TORCH.format(folders=folders)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-2:] == ["b to a (rigid)", "[]"]
