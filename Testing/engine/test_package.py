"""What gets installed: a complete wheel, from pinned versions, by the commands that the README gives."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def project():
    with (CHECKOUT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]


@pytest.fixture(scope="module")
def pinned():
    lines = (CHECKOUT / "Testing" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(each.name): each for each in requirements}


def test_every_requirement_is_pinned_to_a_version_that_it_allows(project, pinned):
    extras = project["optional-dependencies"]
    for line in [*project["dependencies"], *extras["test"], *extras["train"]]:
        requirement = Requirement(line)
        (pin,) = pinned[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), line


def test_constraints_name_versions_and_nothing_else(pinned):
    for requirement in pinned.values():
        assert [each.operator for each in requirement.specifier] == ["=="]
        assert "+" not in str(requirement.specifier)
        assert requirement.url is None


def test_every_dependency_has_a_lower_bound_to_test(project):
    for line in project["dependencies"]:
        assert [each.operator for each in Requirement(line).specifier] == [">="], line


def test_continuous_integration_runs_the_readmes_second_command():
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    second = re.findall(r"```sh\n(.*?)\n```", readme, re.DOTALL)[1]
    script = (CHECKOUT / ".ci" / "run").read_text(encoding="utf-8").rstrip().splitlines()
    assert script[-1] == f"exec {second}"
    assert "set -euo pipefail" in script


def test_the_wheel_holds_the_engine_its_cards_and_the_licence(tmp_path, project):
    # By its metadata: importing setuptools after another test's distutils fails, and pip runs in a process of its own.
    if int(metadata.version("setuptools").split(".")[0]) < 77:
        pytest.skip("building a wheel takes setuptools 77 or later")
    source = tmp_path / "source"
    engine = CHECKOUT / "DeepRegister" / "deepregister"
    shutil.copytree(engine, source / "DeepRegister" / "deepregister", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = {path.relative_to(engine.parent).as_posix() for path in engine.rglob("*.py")}
    expected |= {path.relative_to(engine.parent).as_posix() for path in engine.rglob("card.toml")}
    expected |= {path.relative_to(engine.parent).as_posix() for path in engine.rglob("*.safetensors")}
    expected |= {path.relative_to(engine.parent).as_posix() for path in engine.rglob("LICENSE.txt")}
    expected |= {path.relative_to(engine.parent).as_posix() for path in engine.rglob("*.nii.gz")}
    expected |= {path.relative_to(engine.parent).as_posix() for path in (engine / "training").rglob("*.toml")}
    expected |= {path.relative_to(engine.parent).as_posix() for path in (engine / "page").glob("report.*")}
    expected |= {path.relative_to(engine.parent).as_posix() for path in (engine / "cohort").glob("index.*")}
    beside = {name for name in packed if ".dist-info/" in name}
    assert packed - beside == expected
    assert any(name.endswith("/licenses/LICENSE") for name in beside)
    assert any(name.endswith("card.toml") for name in packed)
