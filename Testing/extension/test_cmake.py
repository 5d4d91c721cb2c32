"""The build without Slicer: every file is listed, what is listed is copied, and the copy loads."""

import shutil
import subprocess
import sys

import pytest

CMAKE = shutil.which("cmake")
pytestmark = pytest.mark.skipif(CMAKE is None, reason="cmake is not on this machine, so the file lists go unchecked")


def run(*command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def configure(source, build):
    return run(CMAKE, "-S", source, "-B", build, f"-DPython3_EXECUTABLE={sys.executable}", folder=source)


def test_the_built_module_loads(checkout, tmp_path):
    configured = configure(checkout, tmp_path)
    assert configured.returncode == 0, configured.stderr
    built = run(CMAKE, "--build", tmp_path, folder=tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    tested = run("ctest", "--output-on-failure", folder=tmp_path)
    assert tested.returncode == 0, tested.stdout
    assert "Skipped" not in tested.stdout, tested.stdout
    assert "tests passed, 0 tests failed out of 2" in tested.stdout


@pytest.mark.parametrize(
    "name",
    [
        "deepregister/volume.py",
        "DeepRegisterLib/panel/__init__.py",
        "Resources/UI/Choose.ui",
        "Resources/Icons/DeepRegister.png",
    ],
)
def test_a_listed_file_that_is_missing_stops_the_build(copied_checkout, tmp_path, name):
    (copied_checkout / "DeepRegister" / name).unlink()
    configured = configure(copied_checkout, tmp_path / "build")
    assert configured.returncode != 0
    assert "Listed in DeepRegister/CMakeLists.txt, but not a file" in configured.stderr
    assert name in configured.stderr


@pytest.mark.parametrize(
    "name",
    [
        "Extra.py",
        "deepregister/extra.py",
        "deepregister/models/rigid/extra.py",
        "DeepRegisterLib/extra/__init__.py",
        "Resources/UI/Extra.ui",
        "Resources/Icons/Extra.png",
        "deepregister/networks/card.toml",
        "deepregister/weights.safetensors",
    ],
)
def test_a_file_that_is_listed_nowhere_stops_the_build(copied_checkout, tmp_path, name):
    path = copied_checkout / "DeepRegister" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    configured = configure(copied_checkout, tmp_path / "build")
    assert configured.returncode != 0
    assert "Not listed in DeepRegister/CMakeLists.txt" in configured.stderr
    assert name in configured.stderr


def test_a_new_model_needs_no_change_of_the_list(copied_checkout, tmp_path):
    build = tmp_path / "build"
    assert configure(copied_checkout, build).returncode == 0
    models = copied_checkout / "DeepRegister" / "deepregister" / "models"
    new = models / "another" / "trained"
    new.mkdir(parents=True)
    shutil.copy(models / "rigid" / "card.toml", new)
    (new / "weights.safetensors").write_bytes(b"weights")
    (new / "LICENSE.txt").write_text("Of the weights.")
    (new / "typical.nii.gz").write_bytes(b"image")
    # The build itself notices the new files.
    built = run(CMAKE, "--build", build, folder=build)
    assert built.returncode == 0, built.stdout + built.stderr
    copied = build / "lib/Slicer/qt-scripted-modules/deepregister/models/another/trained"
    assert sorted(path.name for path in copied.iterdir()) == [
        "LICENSE.txt",
        "card.toml",
        "typical.nii.gz",
        "weights.safetensors",
    ]
