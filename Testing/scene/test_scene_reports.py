"""The report page from the scene: the same page that the engine's own volumes give, whatever the nodes sit under."""

import sys

import pytest
from deepregister import Settings
from deepregister.errors import InputError, MissingPackageError
from deepregister.page import write_page
from deepregister.preparation import describe_inputs
from DeepRegisterLib.scene.current import CurrentResult
from DeepRegisterLib.scene.logic import RegistrationLogic
from DeepRegisterLib.scene.request import requestFromNodes
from DeepRegisterLib.scene.results import insertResult
from scenery import PAIRS, addLinear, addVolume, deformable, registration, rigid, rotated, texture


def inserted(scene, placed="alone", transform=deformable):
    """A result in the scene, and the request that it answers."""
    fixedGrid, movingGrid = PAIRS["oblique"]
    fixed = addVolume(scene, texture(fixedGrid, 1), "CT")
    moving = addVolume(scene, texture(movingGrid, 2), "MR <b>")
    if placed != "alone":
        parent = addLinear(scene, rotated(6, shift=(2, -1, 3)), "Table")
        moving.SetAndObserveTransformNodeID(parent.GetID())
        if placed == "under a shared transform":
            other = addVolume(scene, texture(movingGrid, 3), "Other")
            other.SetAndObserveTransformNodeID(parent.GetID())
    asked = requestFromNodes(fixed, moving, Settings(model="deformable"))
    inputs = describe_inputs(fixed=asked.fixed, moving=asked.moving)
    found = registration(transform(asked.fixed.geometry), asked.fixed, asked.moving, inputs=inputs)
    return asked, insertResult(asked, found)


@pytest.mark.parametrize("placed", ["alone", "under a transform of its own", "under a shared transform"])
def test_the_page_shows_the_volumes_as_the_engine_saw_them(scene, tmp_path, placed):
    asked, nodes = inserted(scene, placed, rigid if placed != "alone" else deformable)
    RegistrationLogic().writeReport(nodes, tmp_path / "scene.html")
    write_page(tmp_path / "engine.html", nodes.registration, asked.fixed, asked.moving)
    text = (tmp_path / "scene.html").read_text(encoding="utf-8")
    assert text == (tmp_path / "engine.html").read_text(encoding="utf-8")
    assert "MR &lt;b&gt;" in text and ("Jacobian" in text) == (placed == "alone")


def test_the_worker_writes_the_same_page(scene, logic, tmp_path):
    _, nodes = inserted(scene, transform=rigid)
    current = CurrentResult.of(nodes)
    running = logic.startReport(current, tmp_path / "worker.html")
    assert running.finish() == [tmp_path / "worker.html"] and running.done
    logic.writeReport(current, tmp_path / "here.html")
    pages = [(tmp_path / name).read_text(encoding="utf-8") for name in ("worker.html", "here.html")]
    assert pages[0] == pages[1]
    # A scene that was loaded holds the transform, but not all that the page shows.
    with pytest.raises(InputError, match=r"more of MR <b> to CT .* than a saved scene holds"):
        logic.startReport(nodes.transformNode, tmp_path / "later.html")


def test_a_volume_that_was_moved_or_removed_since_is_named(scene, tmp_path):
    asked, nodes = inserted(scene, transform=rigid)
    asked.movingNode.HardenTransform()
    with pytest.raises(InputError, match=r"MR <b> lies elsewhere than when it was registered"):
        RegistrationLogic().writeReport(nodes, tmp_path / "report.html")
    scene.RemoveNode(asked.fixedNode)
    with pytest.raises(InputError, match="The fixed volume is not in the scene any more"):
        RegistrationLogic().writeReport(nodes, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_slicer_without_the_packages_is_told_what_to_install(scene, tmp_path, monkeypatch):
    _, nodes = inserted(scene, transform=rigid)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match="pip install"):
        RegistrationLogic().writeReport(nodes, tmp_path / "report.html")
