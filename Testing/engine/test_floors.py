"""torch stays out of Slicer's process, and Slicer, VTK and Qt out of the engine: seen in fresh processes.

The rules for import statements are in Testing/extension/import_rules.ini; here they are followed through to what
really gets loaded.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = Path(__file__).resolve().parents[2] / "DeepRegister"
# The rooms that compute. Everything else must load without torch.
TORCH_ROOMS = (
    "deepregister.devices",
    "deepregister.models.ascent",
    "deepregister.models.choice",
    "deepregister.models.discrete",
    "deepregister.models.fitting",
    "deepregister.models.instance",
    "deepregister.models.landmark_pull",
    "deepregister.models.layers",
    "deepregister.models.learned",
    "deepregister.models.linear",
    "deepregister.models.pose",
    "deepregister.models.pose_search",
    "deepregister.models.rematching",
    "deepregister.models.resemblance",
    "deepregister.models.sampling",
    "deepregister.models.weights",
    "deepregister.networks",
    "deepregister.registration",
    "deepregister.similarity",
    "deepregister.spatial",
    "deepregister.training",
)
# Running these is their purpose.
ENTRY_POINTS = ("deepregister.__main__",)


def modules_of(package):
    """Names of all modules of a package, by its files."""
    for path in sorted((PACKAGES / package).rglob("*.py")):
        parts = path.relative_to(PACKAGES).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def loaded_by(names, tmp_path):
    """Top-level packages that a fresh process has loaded after importing these modules."""
    code = (
        "import importlib, sys\n"
        f"for name in {list(names)!r}: importlib.import_module(name)\n"
        "print(*sorted({name.split('.')[0] for name, module in sys.modules.items() if module}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGES)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def is_torch_room(name):
    return any(name == room or name.startswith(f"{room}.") for room in TORCH_ROOMS)


def test_the_engine_outside_its_computing_rooms_loads_neither_torch_nor_slicer(tmp_path):
    names = [name for name in modules_of("deepregister") if not is_torch_room(name) and name not in ENTRY_POINTS]
    assert {"deepregister.client", "deepregister.models.registry", "deepregister.quality"} <= set(names)
    loaded = loaded_by(names, tmp_path)
    assert "SimpleITK" in loaded
    assert not loaded & {"torch", "slicer", "vtk", "vtkmodules", "qt", "ctk", "PySide6", "monai"}
    # They belong to pages for people, and are loaded when one is written.
    assert not loaded & {"matplotlib", "jinja2"}


def test_every_computing_room_loads_torch_but_nothing_of_slicer(tmp_path):
    names = [name for name in modules_of("deepregister") if is_torch_room(name)]
    loaded = loaded_by(names, tmp_path)
    assert "torch" in loaded
    assert not loaded & {"slicer", "vtk", "vtkmodules", "qt", "ctk", "PySide6"}


def test_the_scene_loads_neither_torch_nor_qt(tmp_path):
    if importlib.util.find_spec("slicer") is None:
        pytest.skip("slicer-core is not installed")
    names = [name for name in modules_of("DeepRegisterLib") if name.startswith("DeepRegisterLib.scene")]
    assert "DeepRegisterLib.scene.logic" in names
    loaded = loaded_by(names, tmp_path)
    assert "slicer" in loaded
    assert not loaded & {"torch", "matplotlib", "jinja2", "qt", "ctk", "PySide6"}
