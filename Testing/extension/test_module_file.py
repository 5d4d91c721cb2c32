"""DeepRegister.py as Slicer's module factory meets it: metadata, sample data, nothing costly at file scope."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import slicer
from headless_slicer import HeadlessSlicer
from qt_host.host import Host

MODULE = Path(__file__).resolve().parents[2] / "DeepRegister" / "DeepRegister.py"


@pytest.fixture(scope="module")
def module():
    """The module file, imported as Slicer imports it."""
    slicer_without_application = HeadlessSlicer()
    host = Host()
    yield host.load(MODULE)
    slicer_without_application.close()
    host.check()


def test_it_is_the_only_python_file_beside_the_packages():
    # Slicer takes every other one for a module of its own.
    assert [path.name for path in MODULE.parent.glob("*.py")] == ["DeepRegister.py"]


def test_it_is_short():
    assert len(MODULE.read_text(encoding="utf-8").splitlines()) < 150


def test_metadata(module):
    described = slicer.modules.deepregister
    assert described.title == "DeepRegister"
    assert described.categories == ["Registration"]
    assert "https://github.com/" in described.helpText
    assert described.contributors


def test_nothing_that_slicer_lacks_is_imported_when_the_file_is_loaded():
    files = [MODULE, *(MODULE.parent / "DeepRegisterLib").rglob("*.py")]
    inside_slicer = set(sys.stdlib_module_names) | {
        "ctk",
        "deepregister",
        "DeepRegisterLib",
        "numpy",
        "qt",
        "slicer",
        "vtk",
    }
    for path in files:
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            names = []
            if isinstance(statement, ast.Import):
                names = [alias.name for alias in statement.names]
            elif isinstance(statement, ast.ImportFrom) and statement.level == 0:
                names = [statement.module]
            assert {name.partition(".")[0] for name in names} <= inside_slicer, path


def test_in_a_fresh_process_the_module_and_its_panel_load_without_torch():
    script = MODULE.parents[1] / "Testing" / "cmake" / "load_built_module.py"
    loaded = subprocess.run(
        [sys.executable, script, "module", MODULE.parent, MODULE.parent], capture_output=True, text=True, check=False
    )
    assert loaded.returncode == 0, loaded.stderr


def test_sample_pairs_are_offered_with_their_checksums(module):
    offered = slicer.modules.sampleDataSources["DeepRegister"]
    assert set(offered) == set(module.SAMPLE_PAIRS)
    for source in offered.values():
        assert len(source["uris"]) == len(source["fileNames"]) == len(source["nodeNames"]) == 2
        for uri, checksum in zip(source["uris"], source["checksums"], strict=True):
            kind, _, digest = checksum.partition(":")
            assert kind == "SHA256"
            assert len(digest) == 64
            assert uri.endswith(f"/SHA256/{digest}")


def test_the_logic_is_the_scene_logic_and_slicers(module):
    from DeepRegisterLib.scene.logic import RegistrationLogic

    logic = module.DeepRegisterLogic()
    assert isinstance(logic, RegistrationLogic)
    assert isinstance(logic, slicer.ScriptedLoadableModule.ScriptedLoadableModuleLogic)
    assert set(vars(module.DeepRegisterLogic)) <= {
        "__doc__",
        "__module__",
        "__qualname__",
        "__firstlineno__",
        "__static_attributes__",
    }
    assert {card.name for card in logic.models()} >= {"rigid", "affine", "deformable"}
    assert logic.getParameterNode() is not None
