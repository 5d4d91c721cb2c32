"""The doctor in real environments: complete, empty, without torch, with packages that are broken, crash or are not
what they are taken for."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
from deepregister import __version__
from deepregister.connection import worker_environment
from deepregister.doctor import surroundings
from deepregister.doctor.findings import SECTIONS, STATUSES, Diagnosis, Finding
from deepregister.doctor.process import run_probe
from deepregister.doctor.requirements import OPTIONAL, REQUIRED, TORCH
from processes import posix
from pythons import CHECKOUT, ENGINE, Environment, put_package
from toymodels import toy_model

WITHOUT_TORCH = [each.name for each in REQUIRED if each is not TORCH]


@pytest.fixture(scope="module")
def complete():
    """What the doctor says of this environment, in which registrations run."""
    command = [sys.executable, "-m", "deepregister", "doctor", "--json", "--offline"]
    done = subprocess.run(command, env=worker_environment({}), capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="module")
def torchless(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("torchless"), *WITHOUT_TORCH)


@pytest.fixture
def numpy_and_little_more(tmp_path):
    """An environment to break packages in."""
    return Environment(tmp_path / "environment", "numpy")


def named(values, name):
    (found,) = (each for each in values["findings"] if each["name"] == name)
    return found


def test_where_all_is_there_registrations_can_run(complete):
    status, values, progress = complete
    assert status == 0
    assert values["ready"] is True
    assert values["install"] is None
    for each in REQUIRED:
        assert named(values, f"package {each.name}")["status"] == "ok"
    cpu = named(values, "device cpu")
    assert cpu["facts"]["milliseconds"] > 0
    assert "128 x 128 x 128 voxels" in cpu["text"]
    trial = named(values, "registration")
    assert trial["status"] == "ok"
    assert trial["facts"]["error_mm"] < 0.5
    assert trial["facts"]["hello"]["version"] == __version__
    assert "registering a small known pair" in progress or "registration: done" in progress


def test_json_has_the_same_form_whatever_was_found(complete, empty):
    for values in (complete[1], json.loads(empty.doctor("--json", "--offline").stdout)):
        assert set(values) == {"ready", "verdict", "version", "findings", "install", "everything"}
        for finding in values["findings"]:
            assert set(finding) == {"section", "name", "status", "text", "mend", "facts"}
            assert finding["section"] in SECTIONS
            assert finding["status"] in STATUSES
            assert all(isinstance(line, str) and line for line in [finding["text"], *finding["mend"]])
        assert values["ready"] is all(each["status"] != "problem" for each in values["findings"])
        recipe = {"packages", "online", "proxy", "proxy_for_good", "download", "offline", "machine", "notes"}
        assert set(values["everything"]) == recipe
        assert values["everything"]["packages"] == [str(each) for each in REQUIRED]


def test_with_nothing_installed_it_still_speaks(empty):
    done = empty.doctor()
    assert done.returncode == 1
    assert done.stdout.startswith(f"DeepRegister {__version__}: registrations cannot run here; ")
    for each in REQUIRED:
        assert f"{each.name} is not installed ({each.specifier} needed)" in done.stdout
    # No pip either: it comes first.
    start = done.stdout.index("To install what is missing, type")
    first, second = (shlex.split(line) for line in done.stdout[start:].splitlines()[1:3])
    assert first == [str(empty.python), "-m", "ensurepip", "--upgrade"]
    assert second == [str(empty.python), "-m", "pip", "install", *(str(each) for each in REQUIRED)]
    assert "Not tried" in done.stdout


def test_the_package_can_be_imported_with_nothing_installed(empty):
    code = "import deepregister, sys; print(deepregister.__version__, 'Volume' in dir(deepregister))"
    assert empty.run("-c", code).stdout.split() == [__version__, "True"]
    done = empty.run("-c", "from deepregister import Volume")
    assert "ModuleNotFoundError: No module named 'numpy'\n`deepregister doctor` says what is missing" in done.stderr


@pytest.mark.parametrize("words", [["models"], ["register", "a.nrrd", "b.nrrd", "--output", "c"], ["--help"]])
def test_a_command_that_cannot_be_loaded_says_what_to_type(empty, words):
    done = empty.run("-m", "deepregister", *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    missing = re.search(r"No module named '(\w+)'", done.stderr)[1]
    needed = next(each for each in REQUIRED if each.module == missing)
    assert shlex.join([str(empty.python), "-m", "pip", "install", str(needed)]) in done.stderr
    assert "`deepregister doctor`" in done.stderr


def test_without_torch_the_commands_that_install_it_are_exact(torchless):
    done = torchless.doctor("--json", HTTPS_PROXY="http://jane:secret@proxy.hospital:3128")
    assert done.returncode == 1
    values = json.loads(done.stdout)
    assert {each["name"]: each["status"] for each in values["findings"] if each["section"] == "packages"} == {
        f"package {each.name}": "problem" if each is TORCH else "ok" for each in REQUIRED
    }
    install = values["install"]
    assert install["packages"] == ["torch>=2.4"]
    assert install["online"][-1].endswith("-m pip install 'torch>=2.4'")
    wanted = ["--proxy", "http://USER:PASSWORD@proxy.hospital:3128", "--cert", "CERTIFICATE.pem", "torch>=2.4"]
    assert shlex.split(install["proxy"][-1])[-5:] == wanted
    assert [shlex.split(line)[-4:] for line in install["proxy_for_good"]] == [
        ["config", "set", "global.proxy", "http://USER:PASSWORD@proxy.hospital:3128"],
        ["config", "set", "global.cert", "CERTIFICATE.pem"],
    ]
    assert "secret" not in done.stdout
    (download,) = install["download"]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"--only-binary=:all: --python-version {version} 'torch>=2.4'" in download
    assert install["offline"][-1].endswith("--no-index --find-links deepregister-wheels 'torch>=2.4'")


@pytest.mark.parametrize("fault", ["", "raise OSError('[WinError 126] Error loading fbgemm.dll')"])
def test_a_command_that_computes_names_torch(torchless, tmp_path, fault):
    code = (
        "import numpy, deepregister\n"
        "volume = deepregister.Volume.from_array(numpy.random.default_rng(0).random((8, 8, 8), 'float32'))\n"
        f"volume.write({str(tmp_path / 'a.nrrd')!r})\n"
    )
    assert torchless.run("-c", code).returncode == 0
    volume = tmp_path / "a.nrrd"
    variables = {}
    if fault:
        put_package(tmp_path, "torch", fault)
        variables["PYTHONPATH"] = f"{ENGINE}{os.pathsep}{tmp_path}"
    done = torchless.run("-m", "deepregister", "register", volume, volume, "--output", tmp_path / "out", **variables)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert ("WinError 126" in done.stderr) is bool(fault)
    assert "pip install 'torch>=2.4'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_stands_in_for_a_package_is_named(numpy_and_little_more, tmp_path):
    put_package(tmp_path / "elsewhere", "numpy", "raise ImportError('DLL load failed while importing _core')")
    path = f"{ENGINE}{os.pathsep}{tmp_path / 'elsewhere'}"
    values = json.loads(numpy_and_little_more.doctor("--json", PYTHONPATH=path).stdout)
    found = named(values, "package numpy")
    assert found["status"] == "problem"
    assert "DLL load failed" in found["text"]
    assert f"{tmp_path / 'elsewhere' / 'numpy'}" in found["text"]
    assert found["mend"] == [
        f"Remove {tmp_path / 'elsewhere'} from the variable PYTHONPATH, or rename "
        f"{tmp_path / 'elsewhere' / 'numpy' / '__init__.py'}."
    ]
    # Installing it once more would change nothing.
    assert not any(each.startswith("numpy") for each in values["install"]["packages"])


BROKEN = {
    "torch": ("2.9.1", "raise OSError('[WinError 126] Error loading torch/lib/fbgemm.dll')", "WinError 126"),
    "scipy": ("1.15.0", "import os, signal; os.kill(os.getpid(), signal.SIGABRT)", "cannot be imported. Its process"),
    "SimpleITK": ("2.2.1", "__version__ = '2.2.1'", "SimpleITK 2.2.1 will not do (>=2.4 needed)"),
    "safetensors": ("0.5.0", "import missing_part", "No module named 'missing_part'"),
}


def test_packages_that_fail_crash_or_are_too_old_are_told_apart(numpy_and_little_more):
    for name, (version, code, _) in BROKEN.items():
        put_package(numpy_and_little_more.packages, name, code, version)
    done = numpy_and_little_more.doctor("--json")
    assert done.returncode == 1
    values = json.loads(done.stdout)
    for name, (_, _, said) in BROKEN.items():
        found = named(values, f"package {name}")
        # Only learned models need safetensors.
        assert found["status"] == ("warning" if name == "safetensors" else "problem")
        assert said in found["text"]
    assert named(values, "package numpy")["status"] == "ok"
    if sys.platform != "win32":
        assert "SIGABRT" in named(values, "package scipy")["text"]
    anew, install = (shlex.split(line) for line in values["install"]["online"][-2:])
    # What pip takes for installed; a newer SimpleITK it fetches by itself.
    assert anew[-5:] == ["--force-reinstall", "--no-deps", "scipy>=1.13", "safetensors>=0.4.3", "torch>=2.4"]
    assert {"torch>=2.4", "scipy>=1.13", "SimpleITK>=2.4"} <= set(install)


def test_an_import_that_never_ends_is_ended(tmp_path, monkeypatch):
    put_package(tmp_path, "endless", "import time\ntime.sleep(1000)", "1.0")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    outcome = run_probe("package", "endless", "endless", seconds=3)
    assert outcome.failure == "It did not end within 3 s."
    assert outcome.values["installed"] == "1.0"


def test_a_second_copy_of_the_engine_is_found(empty, tmp_path):
    shutil.copytree(ENGINE / "deepregister", tmp_path / "old" / "deepregister")
    start = tmp_path / "old" / "deepregister" / "__init__.py"
    text = start.read_text(encoding="utf-8")
    start.write_text(text.replace(f'"{__version__}"', '"0.0.7"'), encoding="utf-8")
    values = json.loads(empty.doctor("--json", PYTHONPATH=f"{ENGINE}{os.pathsep}{tmp_path / 'old'}").stdout)
    assert str(ENGINE / "deepregister") in named(values, "engine")["text"]
    second = named(values, "second engine")
    assert second["status"] == "warning"
    assert "0.0.7" in second["text"] and str(tmp_path / "old" / "deepregister") in second["text"]
    assert "PYTHONPATH" in second["mend"][0]
    # The other way round the old one runs, and says so.
    values = json.loads(empty.doctor("--json", PYTHONPATH=f"{tmp_path / 'old'}{os.pathsep}{ENGINE}").stdout)
    assert values["version"] == "0.0.7"
    assert str(ENGINE / "deepregister") in named(values, "second engine")["text"]
    # What pip installed is taken away by pip.
    (tmp_path / "old" / "deepregister-0.0.7.dist-info").mkdir()
    values = json.loads(empty.doctor("--json", PYTHONPATH=f"{ENGINE}{os.pathsep}{tmp_path / 'old'}").stdout)
    assert named(values, "second engine")["mend"][0].endswith("-m pip uninstall deepregister")


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    """The per-user data folder, on every system."""
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    from deepregister.models.registry import user_models_dir

    return user_models_dir()


def test_models_of_the_user_are_read(user_folder):
    shutil.copytree(ENGINE / "deepregister" / "models" / "affine", user_folder / "mine")
    card = user_folder / "mine" / "card.toml"
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace('name = "affine"', 'name = "mine"'), encoding="utf-8")
    folder, models = surroundings.models()
    assert (folder.status, folder.facts["readable"]) == ("ok", 1)
    assert "mine" in models.text
    # Two of one name.
    card.write_text(text, encoding="utf-8")
    assert [each.status for each in surroundings.models()] == ["ok", "problem"]
    card.write_text("name =", encoding="utf-8")
    folder, damaged = surroundings.models()
    assert (damaged.name, damaged.status) == ("card mine", "problem")
    assert str(card) in damaged.text


def test_a_models_folder_that_cannot_be_made_is_told(user_folder):
    assert surroundings.models()[0].status == "ok"
    assert not user_folder.exists()
    user_folder.parent.parent.mkdir(parents=True, exist_ok=True)
    user_folder.parent.write_text("a file is in the way")
    found = surroundings.models()[0]
    assert found.status == "warning"
    assert str(user_folder.parent) in found.text


def test_damaged_weights_are_found(user_folder):
    card = toy_model(user_folder / "toy")
    assert [each.status for each in surroundings.models()] == ["ok", "ok"]
    (card.folder / card.weights).write_bytes(b"nothing")
    _, damaged = surroundings.models()
    assert damaged.status == "problem" and str(card.folder / card.weights) in damaged.text


@posix
def test_in_slicers_python_the_commands_are_slicers(tmp_path):
    home = tmp_path / "Slicer 5.12"
    python = Environment(home / "lib" / "Python")
    (home / "lib" / "Slicer-5.12").mkdir()
    (home / "bin").mkdir()
    launcher = home / "bin" / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\nexec {shlex.quote(str(python.python))} "$@"\n')
    launcher.chmod(0o755)
    done = subprocess.run(
        [launcher, "-m", "deepregister", "doctor"],
        env=python.variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"3D Slicer 5.12 in {home}" in " ".join(done.stdout.split())
    # What Slicer is built with is never installed over.
    assert "It is a part of 3D Slicer" in done.stdout
    (command,) = (line for line in done.stdout.splitlines() if " install 'Pillow" in line)
    assert shlex.split(command)[:4] == [str(launcher), "-m", "pip", "install"]
    assert "torch>=2.4" in command and "numpy" not in command
    assert "slicer.util.pip_install(" in done.stdout


def test_the_recipe_without_a_network_works_to_the_letter(tmp_path):
    """Its two commands, on a package made for it: downloaded into the folder, and installed from there alone."""
    wheel = tmp_path / "index" / "sample_part-1.2-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("sample_part.py", "__version__ = '1.2'\n")
        notes = "sample_part-1.2.dist-info/"
        archive.writestr(notes + "METADATA", "Metadata-Version: 2.1\nName: sample-part\nVersion: 1.2\n")
        archive.writestr(notes + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(notes + "RECORD", "")
    environment = Environment(tmp_path / "environment", "pip")
    code = (
        "import json\n"
        "from deepregister.doctor.installing import recipe\n"
        "from deepregister.doctor.requirements import Requirement\n"
        "print(json.dumps(recipe([Requirement('sample-part', 'sample_part', (1, 0), '')]).to_dict()))"
    )
    found = json.loads(environment.run("-c", code).stdout)
    (download,), (install,) = ([shlex.split(line) for line in found[name]] for name in ("download", "offline"))
    # Stands for the connected computer, whose Python may have another name.
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent), "PIP_CONFIG_FILE": "/dev/null"}
    assert environment.run(*download[1:], **index).returncode == 0
    installed = environment.run(*install[1:], PIP_CONFIG_FILE="/dev/null")
    assert installed.returncode == 0, installed.stderr
    assert environment.run("-c", "import sample_part; print(sample_part.__version__)").stdout.strip() == "1.2"


def test_requirements_are_those_of_the_project():
    with (CHECKOUT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert sorted(map(str, REQUIRED)) == sorted(project["dependencies"])
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name != "test"}
    ours = {name: sorted(str(each) for each in OPTIONAL if each.extra == name) for name in extras}
    assert ours == {name: sorted(lines) for name, lines in extras.items()}
    assert project["requires-python"] == ">=" + ".".join(map(str, surroundings.PYTHON))


def test_the_text_marks_by_words_and_counts():
    findings = (
        Finding("system", "python", "ok", "Python 3.12"),
        Finding("packages", "package torch", "problem", "torch is not installed."),
        Finding("devices", "driver", "warning", "The driver is old.", ("Update it.",)),
    )
    text = Diagnosis("1.0", findings, (TORCH,)).text()
    lines = text.splitlines()
    assert lines[0] == "DeepRegister 1.0: registrations cannot run here; 1 problem and 1 warning."
    assert "  problem  torch is not installed." in lines
    assert lines[lines.index("  warning  The driver is old.") + 1].strip() == "Update it."
    assert "To install what is missing, type" in lines
    assert Diagnosis("1.0", findings[:1]).verdict == "DeepRegister 1.0: registrations can run here."
    assert "To install" not in Diagnosis("1.0", findings[:1]).text()
