"""The panel as a whole: two runs, closing and loading scenes, reloading the module, what it leaves behind."""

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import qt
import slicer
from DeepRegisterLib.scene.parameters import Parameters
from driving import choosePair, load, register, saved, startLong


def childrenOf(process):
    """The processes that a process has started and that have not ended."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            if int(lines["PPid"]) == process and not lines["State"].startswith("Z"):
                found.add(int(status.parent.name))
    return found


def nodesOf(scene):
    return {scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes())}


def test_closing_the_scene_stops_the_run(qt_host, ready, scene):
    # The views of Slicer have transform nodes of their own.
    transforms = scene.GetNumberOfNodesByClass("vtkMRMLTransformNode")
    startLong(qt_host, ready)
    scene.Clear(0)
    qt_host.wait(lambda: not ready.running)
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLTransformNode") == transforms
    assert not ready.run.ui.errorFrame.visible, ready.run.ui.errorLabel.text
    assert not ready.result.ui.resultButton.visible
    assert not ready.run.ui.runButton.enabled
    assert ready.choose.binding.parameters.fixedVolume is None


def test_after_a_closed_scene_the_next_one_is_registered(qt_host, module, ready, scene):
    from DeepRegisterLib.selftest import SHIFT_RAS_MM, addPhantom

    startLong(qt_host, ready)
    scene.Clear(0)
    again = addPhantom("Fixed", 0 * SHIFT_RAS_MM), addPhantom("Moving", SHIFT_RAS_MM)
    qt_host.wait(lambda: not ready.running)
    choosePair(ready, again)
    register(qt_host, ready)
    assert ready.current.movingNode is again[1]


def test_a_loaded_scene_has_its_result(qt_host, ready, scene, pair, tmp_path):
    register(qt_host, ready)
    for node in (*pair, ready.current.registeredVolumeNode, ready.current.transformNode):
        node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        kind = "h5" if node.IsA("vtkMRMLTransformNode") else "nrrd"
        storage.SetFileName(str(tmp_path / f"{node.GetID()}.{kind}"))
        assert storage.WriteData(node)
    before = ready.result.ui.resultLabel.text
    text = saved(scene)
    scene.Clear(0)
    assert ready.current is None
    assert not ready.result.ui.resultButton.visible
    load(scene, text)
    assert ready.current.movingNode.GetName() == "After surgery"
    assert ready.current.registration is None
    assert ready.result.ui.resultButton.visible
    assert ready.result.ui.resultLabel.text == before


def test_a_result_whose_nodes_are_removed_is_spoken_of_no_longer(qt_host, ready, scene):
    register(qt_host, ready)
    scene.RemoveNode(ready.current.transformNode)
    assert ready.current is None
    assert not ready.result.ui.resultButton.visible


def test_the_module_can_be_reloaded_during_a_run(qt_host, module, pair, scene):
    """What Slicer's Reload button does: clean up, load the file again, make a new widget in the old one's place."""
    opened = qt_host.open(module)
    try:
        choosePair(opened.panel, pair)
        startLong(qt_host, opened.panel)
        worker, old = opened.panel.logic.client.pid, opened.panel
        opened = qt_host.reload(opened)
        assert opened.panel is not old
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
        assert opened.panel.choose.ui.fixedSelector.currentNode() is pair[0]
        assert opened.panel.choose.ui.modelSelector.currentText == "Deformable"
        choosePair(opened.panel, pair)
        register(qt_host, opened.panel)
        assert pair[1].GetParentTransformNode() is opened.panel.current.transformNode
        # The old panel has let go of the scene.
        scene.RemoveNode(pair[0])
        assert opened.panel.current is None
    finally:
        qt_host.close(opened)


def test_closing_the_panel_ends_the_worker(qt_host, module, pair):
    opened = qt_host.open(module)
    opened.panel.logic.client.start()
    worker = opened.panel.logic.client.pid
    qt_host.close(opened)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are counted in /proc")
def test_ten_starts_and_cancels_leave_nothing(qt_host, module, pair, scene, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    processes = childrenOf(os.getpid())
    opened = qt_host.open(module)
    panel = opened.panel
    try:
        choosePair(panel, pair, "deformable", "accurate")
        nodes, workers = nodesOf(scene), set()
        for cycle in range(10):
            panel.run.ui.runButton.click()
            # In every state: before the worker has answered, while it loads, and while it computes.
            if cycle % 3:
                qt_host.wait(lambda: panel.logic.client.pid is not None)
            if cycle % 3 == 2:
                qt_host.wait(lambda: panel.run.ui.progressBar.value > 0)
            panel.run.ui.runButton.click()
            qt_host.wait(lambda: not panel.running)
            assert panel.run.ui.statusLabel.text == "Cancelled: nothing was changed."
            workers.add(panel.logic.client.pid)
        assert nodesOf(scene) == nodes
        assert len(workers) == 1
        assert len(childrenOf(os.getpid()) - processes) == 1
        (folder,) = tmp_path.iterdir()
        # What the runs were handed is gone, too.
        assert [*folder.iterdir()] == []
    finally:
        qt_host.close(opened)
    assert childrenOf(os.getpid()) <= processes
    assert [*tmp_path.iterdir()] == []
    assert nodesOf(scene) == nodes


def test_a_second_run_loads_the_weights_no_second_time(qt_host, module, pair, monkeypatch, tmp_path):
    """The model's weights are damaged after the first run: the second one does not read them."""
    from toymodels import toy_model

    models = tmp_path / "DeepRegister" / "models"
    toy_model(models / "toy", spacing_mm=6.0)
    for variable in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    if sys.platform == "darwin":
        pytest.skip("the folder of a user's models is not named by a variable there")
    opened = qt_host.open(module)
    try:
        choosePair(opened.panel, pair, "toy")
        register(qt_host, opened.panel)
        worker = opened.panel.logic.client.pid
        weights = models / "toy" / "weights.safetensors"
        times = weights.stat()
        weights.write_bytes(b"\0" * times.st_size)
        os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
        register(qt_host, opened.panel)
        assert opened.panel.logic.client.pid == worker
        assert opened.panel.current.settings.model == "toy"
    finally:
        qt_host.close(opened)


NO_TORCH = """
import sys
from pathlib import Path
import numpy as np
from headless_slicer import HeadlessSlicer
from qt_host.host import Host
host, headless = Host(), HeadlessSlicer()
views = [headless.addSliceView(name) for name in ("Red", "Yellow", "Green")]
module = host.load(Path(sys.argv[1]))
def loaded():
    return sorted(name for name in sys.modules if name.partition(".")[0] in ("torch", "torchvision", "monai"))
assert not loaded(), loaded()
from DeepRegisterLib.selftest import SHIFT_RAS_MM, addPhantom
pair = addPhantom("Fixed", np.zeros(3)), addPhantom("Moving", SHIFT_RAS_MM)
widget = host.open(module)
assert not loaded(), loaded()
from driving import choosePair, register
choosePair(widget.panel, pair)
widget.panel.choose.ui.detailsButton.click()
register(host, widget.panel)
assert widget.panel.current is not None
assert not loaded(), loaded()
host.close(widget)
print("no torch")
"""


def test_torch_stays_out_of_the_panels_process():
    testing = Path(__file__).resolve().parents[1]
    paths = [testing, testing / "panel", testing.parent / "DeepRegister"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "QT_QPA_PLATFORM": "offscreen"}
    run = subprocess.run(
        [sys.executable, "-c", NO_TORCH, str(testing.parent / "DeepRegister" / "DeepRegister.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.endswith("no torch\n"), run.stderr


def test_the_console_finds_what_the_panel_did(qt_host, ready, pair):
    register(qt_host, ready)
    again = ready.logic.register(
        *pair, settings=ready.current.settings, outputTransformNode=ready.current.transformNode
    )
    assert again.transformNode is ready.current.transformNode
    assert Parameters.ofScene(slicer.mrmlScene).resultTransform is ready.current.transformNode


def test_a_long_text_neither_widens_the_panel_nor_is_cut_off(qt_host, widget, panel):
    labels = {name: label for part in panel.parts for name, label in vars(part.ui).items() if isWrapped(label)}
    assert {"resultLabel", "verdictLabel", "errorLabel", "explanationLabel", "modelSummary"} <= set(labels)
    for section in (section for part in panel.parts for section in vars(part.ui).values()):
        if hasattr(section, "collapsed"):
            section.visible, section.collapsed = True, False
    panel.run.ui.errorFrame.visible = True
    for label in labels.values():
        label.text, label.visible = "words", True
    qt_host.pump()
    narrowest = widget.parent.minimumSizeHint().width()
    for label in labels.values():
        label.text = "words that are to be read to the last one " * 9
    qt_host.pump()
    # In Slicer a section is never narrower than its size hint.
    assert widget.parent.minimumSizeHint().width() <= narrowest
    for _ in range(3):
        qt_host.pump()
        widget.parent.resize(narrowest, widget.parent.heightForWidth(narrowest))
    qt_host.pump()
    for name, label in labels.items():
        assert label.visible and label.height >= label.heightForWidth(label.width), name


def isWrapped(widget) -> bool:
    """Whether it is a label whose text folds into lines."""
    return isinstance(widget, qt.QLabel) and widget.wordWrap
