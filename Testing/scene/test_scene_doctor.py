"""The doctor from the scene: it speaks from a process of its own, also in a Slicer without torch."""

from deepregister.doctor.requirements import REQUIRED, TORCH
from pythons import Environment


def test_the_logic_tells_what_the_doctor_says(tmp_path):
    names = [each.name for each in REQUIRED if each is not TORCH]
    python = Environment(tmp_path / "environment", *names, "slicer-core", "vtk")
    done = python.run(
        "-c",
        "import sys\n"
        "from DeepRegisterLib.scene.logic import RegistrationLogic\n"
        "print(RegistrationLogic().diagnose())\n"
        "print('To install everything' in RegistrationLogic().diagnose(offline=True))\n"
        "print('torch' in sys.modules)\n",
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "registrations cannot run here; 1 problem" in lines[0]
    assert any(line.startswith("  problem  torch is not installed (>=2.4 needed)") for line in lines)
    assert any(line.endswith("-m pip install 'torch>=2.4'") for line in lines)
    assert lines[-2:] == ["True", "False"]
