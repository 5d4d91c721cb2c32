"""Frames of a moving phantom whose motion is known, and sequences of them."""

import numpy as np
import slicer
from deepregister import Volume
from DeepRegisterLib.scene.frame import transformedPoints
from DeepRegisterLib.scene.volumes import setVolume
from scenery import centred, rigid

GRID = centred((30, 28, 26), (1.6, 1.6, 1.8), 9)
SHIFTS = [(0, 0, 0), (3, -2, 1), (-2, 3, 2)]
POINTS = GRID.points()[4:-4:4, 4:-4:4, 4:-4:4]


def truth(number):
    return rigid(GRID, degrees=3.0 * number, shift=SHIFTS[number])


def image(number):
    """The same blobs, carried by `truth(number)`: that is fixed to moving for the volume of number 0."""
    points = (
        truth(number).inverse().apply_to_points(GRID.points()) if number else truth(0).apply_to_points(GRID.points())
    )
    generator = np.random.default_rng(4)
    values = np.zeros(GRID.shape)
    for centre in GRID.centre + generator.uniform(-13, 13, (20, 3)):
        widths = generator.uniform(3, 6, 3)
        values += generator.uniform(40, 120) * np.exp(-0.5 * (((points - centre) / widths) ** 2).sum(axis=-1))
    return Volume(values.astype(np.float32), GRID, f"frame {number}")


def flat():
    return Volume(np.full(GRID.shape, 7, np.float32), GRID, "flat")


def addSequence(scene, volumes, name="cine"):
    """A sequence of the volumes at 0, 0.5, ... s."""
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    for number, volume in enumerate(volumes):
        frame = slicer.vtkMRMLScalarVolumeNode()
        frame.SetName(f"{name} {number}")
        setVolume(frame, volume)
        sequence.SetDataNodeAtValue(frame, str(number / 2))
    return sequence


def error(transformNode, expected):
    seen = transformedPoints(transformNode.GetTransformFromParent(), POINTS)
    return np.linalg.norm(seen - expected.apply_to_points(POINTS), axis=-1).max()
