"""The floors of the house, enforced: import-linter reads the rules beside this file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RULES = Path(__file__).with_name("import_rules.ini")


def lint(packages: Path, folder: Path) -> subprocess.CompletedProcess:
    code = f"from importlinter.cli import lint_imports; raise SystemExit(lint_imports({str(RULES)!r}, no_cache=True))"
    # It draws with box characters, whatever VTK or Qt have made of this process's locale.
    environment = {**os.environ, "PYTHONPATH": str(packages), "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_imports_point_down(checkout, tmp_path):
    linted = lint(checkout / "DeepRegister", tmp_path)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("deepregister/volume.py", "import vtk", "The engine knows nothing of Slicer"),
        ("deepregister/volume.py", "import torch", "Only what computes imports torch"),
        ("DeepRegisterLib/scene/volumes.py", "import qt", "The scene knows nothing of Qt"),
        ("DeepRegisterLib/scene/volumes.py", "import DeepRegisterLib.panel", "The panel stands on the scene"),
    ],
)
def test_an_import_that_points_up_is_found(copied_checkout, tmp_path, file, line, broken):
    path = copied_checkout / "DeepRegister" / file
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    linted = lint(copied_checkout / "DeepRegister", tmp_path)
    assert linted.returncode != 0
    assert f"{broken}" in linted.stdout
    assert "BROKEN" in linted.stdout
