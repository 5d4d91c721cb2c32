"""The five lines that the README shows for Slicer's Python console print the error of a known pair."""

import re
from pathlib import Path

import numpy as np
import pytest
import slicer

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def snippet():
    found = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    (text,) = (each for each in found if "TRE" in each)
    return text


def test_it_has_five_lines(snippet):
    assert len([line for line in snippet.splitlines() if line]) == 5


def test_it_prints_the_error_before_and_after(qt_host, module, scene, snippet, capsys):
    from DeepRegisterLib.selftest import SHIFT_RAS_MM, addPhantom

    addPhantom("MRBrainTumor1", np.zeros(3))
    addPhantom("MRBrainTumor2", SHIFT_RAS_MM)
    for name, shift in (("fixed points", 0 * SHIFT_RAS_MM), ("moving points", SHIFT_RAS_MM)):
        points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        for place in ((-18.0, 10.0, 4.0), (15.0, -14.0, -10.0), (8.0, 20.0, 14.0)):
            points.AddControlPoint(np.add(place, shift))
    variables = {"slicer": slicer}
    try:
        exec(compile(snippet.replace('"deformable"', '"rigid"'), "README.md", "exec"), variables)
    finally:
        variables["logic"].close()
    before, after = map(float, re.match(r"TRE ([\d.]+) -> ([\d.]+) mm", capsys.readouterr().out).groups())
    assert before == pytest.approx(np.linalg.norm(SHIFT_RAS_MM), abs=0.06)
    assert after < 1.0
