"""Python environments that lack packages or have broken ones: for the tests of the doctor."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[1]
ENGINE = CHECKOUT / "DeepRegister"


class Environment:
    """A virtual environment in `folder`, without pip, that has some of the packages of this one.

    Args:
        folder: where to make it.
        names: distributions to link, with all that they need.
    """

    def __init__(self, folder: Path, *names: str):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
        self.variables |= {"PYTHONPATH": str(ENGINE), "PYTHONUTF8": "1"}
        where = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.packages = Path(self.run("-c", where).stdout.strip())
        for name in with_needs(names):
            self._link(name)

    def run(self, *arguments, **variables) -> subprocess.CompletedProcess:
        """Run this Python; `variables` are added to its environment."""
        return subprocess.run(
            [self.python, *arguments],
            env=self.variables | variables,
            # Python looks for modules here first.
            cwd=self.python.parent,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    def doctor(self, *options, **variables) -> subprocess.CompletedProcess:
        """`deepregister doctor`, which must never end with a traceback."""
        done = self.run("-m", "deepregister", "doctor", *options, **variables)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def _link(self, name: str) -> None:
        distribution = importlib.metadata.distribution(name)
        entries = {file.parts[0] for file in distribution.files if file.parts[0] not in ("..", "__pycache__")}
        for entry in entries:
            try:
                (self.packages / entry).symlink_to(Path(distribution.locate_file("")) / entry)
            except FileExistsError:
                # Two distributions may share a folder.
                continue
            except OSError as error:
                pytest.skip(f"this system makes no links: {error}")


def with_needs(names) -> set[str]:
    """Distributions with all that they need, by the metadata of this environment."""
    known: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in known:
            continue
        known.add(name)
        needs = (Requirement(line) for line in importlib.metadata.requires(name) or ())
        waiting += [
            canonicalize_name(need.name) for need in needs if not need.marker or need.marker.evaluate({"extra": ""})
        ]
    return known


def put_package(folder: Path, name: str, code: str, version: str | None = None) -> Path:
    """A package of one file in `folder`; with a version pip knows it too."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code, encoding="utf-8")
    if version is not None:
        notes = folder / f"{name}-{version}.dist-info"
        notes.mkdir()
        (notes / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    return folder / name
