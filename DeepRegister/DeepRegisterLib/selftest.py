"""What `DeepRegisterTest` does in the running Slicer: the worker under PythonSlicer, the direction, files, the panel.

The same body runs in the test host without Slicer, so that it is known to work; see Testing/README.md.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import time
import unittest
from pathlib import Path

import numpy as np
import slicer
from deepregister.errors import Cancelled, WorkerError

from .panel import installation

SHIFT_RAS_MM = np.array([9.0, -6.0, 5.0])
SPACING_MM = 3.75
SIZE = 32
# Blobs without any symmetry: centre (RAS mm), width (mm), height.
_BLOBS = (
    ((-18.0, 10.0, 4.0), 9.0, 100.0),
    ((15.0, -14.0, -10.0), 12.0, 140.0),
    ((8.0, 20.0, 14.0), 7.0, 80.0),
    ((-4.0, -8.0, 22.0), 6.0, 120.0),
)


class SelfTest:
    """Mixed into a `ScriptedLoadableModuleTest` that has `makeLogic`."""

    def setUp(self) -> None:
        """An empty scene, a logic with no worker yet, and a known pair."""
        if not installation.isUsable(installation.torchVersion()):
            raise unittest.SkipTest(f"PyTorch is not there, so nothing was tested. {installation.byHand()}")
        slicer.mrmlScene.Clear(0)
        self.logic = self.makeLogic()
        self.fixed = addPhantom("fixed", np.zeros(3))
        self.moving = addPhantom("moving", SHIFT_RAS_MM)

    def tearDown(self) -> None:
        """No worker is left behind."""
        self.logic.close()
        slicer.mrmlScene.Clear(0)

    def test_direction(self) -> None:
        """The transform takes the moving volume and points on it onto the fixed one; another process found it."""
        self.delayDisplay("Registering a volume that was shifted by a known distance")
        nodes = self.logic.register(self.fixed, self.moving, "rigid", "fast")
        transform = nodes.transformNode
        for centre, _width, _height in _BLOBS:
            partner = np.array(centre) + SHIFT_RAS_MM
            self._assertNear(transform.GetTransformToParent().TransformPoint(partner), centre)
            self._assertNear(transform.GetTransformFromParent().TransformPoint(centre), partner)
        self.assertEqual(self.moving.GetTransformNodeID(), transform.GetID())
        registered = slicer.util.arrayFromVolume(nodes.registeredVolumeNode)
        fixed, moving = (slicer.util.arrayFromVolume(node) for node in (self.fixed, self.moving))
        self.assertLess(np.abs(registered - fixed).mean(), 0.2 * np.abs(moving - fixed).mean())
        self.assertNotEqual(self.logic.client.pid, os.getpid())

    def test_workerDeath(self) -> None:
        """A worker that is killed leaves the scene as it was, and the next run starts another."""
        self.delayDisplay("Killing the worker process during a run")
        running = self.logic.start(self.fixed, self.moving, "deformable", "accurate")
        before = slicer.mrmlScene.GetNumberOfNodes()
        self._waitFor(lambda: running.poll() or running.done)
        killed = self.logic.client.pid
        os.kill(killed, signal.SIGTERM)
        with self.assertRaises(WorkerError):
            running.finish()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)
        self.logic.register(self.fixed, self.moving, "rigid", "fast")
        self.assertNotEqual(self.logic.client.pid, killed)

    def test_cancel(self) -> None:
        """A cancelled run changes nothing, and the same worker does the next one."""
        self.delayDisplay("Cancelling a run")
        running = self.logic.start(self.fixed, self.moving, "deformable", "accurate")
        before = slicer.mrmlScene.GetNumberOfNodes()
        self._waitFor(lambda: running.poll() or running.done)
        worker = self.logic.client.pid
        running.cancel()
        with self.assertRaises(Cancelled):
            running.finish()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)
        self.logic.register(self.fixed, self.moving, "rigid", "fast")
        self.assertEqual(self.logic.client.pid, worker)

    def test_saveAndReload(self) -> None:
        """A deformable result is the same after it was saved and loaded."""
        self.delayDisplay("Saving and loading a deformable transform")
        transform = self.logic.register(self.fixed, self.moving, "deformable", "fast").transformNode
        before = [transform.GetTransformFromParent().TransformPoint(centre) for centre, _width, _height in _BLOBS]
        with tempfile.TemporaryDirectory() as folder:
            for name in ("transform.h5", "transform.nrrd"):
                path = str(Path(folder) / name)
                self.assertTrue(slicer.util.saveNode(transform, path))
                loaded = slicer.util.loadTransform(path)
                for (centre, _width, _height), expected in zip(_BLOBS, before, strict=True):
                    self._assertNear(loaded.GetTransformFromParent().TransformPoint(centre), expected, 0.01)

    def test_panel(self) -> None:
        """The panel registers what is chosen in it and says so."""
        self.delayDisplay("Registering from the panel")
        panel = slicer.util.getModuleWidget("DeepRegister").panel
        panel.attach()
        choices, run = panel.choose.ui, panel.run.ui
        choices.fixedSelector.setCurrentNode(self.fixed)
        choices.movingSelector.setCurrentNode(self.moving)
        choices.modelSelector.currentIndex = choices.modelSelector.findData("rigid")
        choices.qualitySelector.currentIndex = choices.qualitySelector.findData("fast")
        self.assertTrue(run.runButton.enabled)
        run.runButton.click()
        self._waitFor(lambda: not panel.running)
        self.assertFalse(run.errorFrame.visible, run.errorLabel.text)
        self.assertIn("onto the fixed volume", panel.result.ui.resultLabel.text)
        self.assertIsNotNone(self.moving.GetTransformNodeID())
        panel.logic.close()

    def test_samplePair(self) -> None:
        """A real pair from Slicer's sample data, where it can be downloaded."""
        try:
            import SampleData

            fixed, moving = SampleData.downloadSamples("DeepRegisterBrainTumor")
        except Exception as error:
            # No network is no fault of the module; the log says that this part was not tried.
            logging.warning(f"The sample pair was not registered, because it could not be had: {error}")
            return
        self.delayDisplay("Registering two brains of the sample data")
        measures = self.logic.register(fixed, moving, "affine", "fast").registration.measures
        self.assertGreater(measures["similarity_after"], measures["similarity_before"])

    def _assertNear(self, point, expected, tolerance: float = 1.0) -> None:
        distance = float(np.linalg.norm(np.array(point) - np.array(expected)))
        self.assertLess(distance, tolerance, f"{tuple(point)} is {distance:.2f} mm from {tuple(expected)}")

    def _waitFor(self, condition, seconds: float = 300.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "waited in vain")
            slicer.app.processEvents()
            time.sleep(0.01)


def addPhantom(name: str, shift):
    """A volume node of smooth blobs that stand `shift` (RAS mm) away from where they are in the fixed one."""
    first = -SPACING_MM * (SIZE - 1) / 2
    axis = first + SPACING_MM * np.arange(SIZE)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    voxels = np.zeros(x.shape, dtype=np.float32)
    for centre, width, height in _BLOBS:
        r, a, s = np.array(centre) + shift
        voxels += height * np.exp(-((x - r) ** 2 + (y - a) ** 2 + (z - s) ** 2) / (2 * width**2))
    ijkToRAS = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    ijkToRAS[:3, 3] = first
    return slicer.util.addVolumeFromArray(voxels, ijkToRAS, name)
