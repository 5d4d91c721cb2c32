#!/usr/bin/env python3
"""Set up an environment with the pinned versions and run all checks and tests in it.

    python3 Testing/run_tests.py [--environment FOLDER] [arguments for pytest ...]

Needs Python 3.11 or 3.12 and pip's access to a package index, nothing else. The environment stays (default
.venv-test in the checkout), so that a second run starts at once.
"""

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PYTHON = "Scripts/python.exe" if os.name == "nt" else "bin/python"


def main() -> int:
    parser = argparse.ArgumentParser(description="Install the pinned versions and run all checks and tests.")
    parser.add_argument("--environment", type=Path, default=CHECKOUT / ".venv-test", help="folder of the environment")
    options, for_pytest = parser.parse_known_args()
    check_python()
    python = prepared(options.environment.resolve())
    environment = {
        **os.environ,
        # No window system is needed, and the same run gives the same result.
        "QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen"),
        "PYTHONHASHSEED": "0",
    }
    for step in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["pytest", *for_pytest]):
        status = run([python, "-m", *step], environment)
        if status:
            print(f"Failed: {' '.join(step)}", flush=True)
            return status
    return 0


def check_python() -> None:
    """Stop unless this is a Python that the pinned versions exist for."""
    if sys.version_info[:2] not in ((3, 11), (3, 12)):
        sys.exit(f"This is Python {sys.version.split()[0]}. Run the tests with Python 3.11 or 3.12.")


def prepared(folder: Path) -> Path:
    """The Python of an environment in `folder`, made if missing, with the package and what its tests need."""
    python = folder / PYTHON
    # Also where it exists: an interrupted first run may have left it without pip.
    print(f"Environment: {folder}", flush=True)
    venv.create(folder, with_pip=True)
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", CHECKOUT / "Testing" / "constraints.txt"]
    # setuptools first: the package is then built with the pinned one, not with what is newest on that day.
    for packages in (["setuptools"], ["--no-build-isolation", "--editable", f"{CHECKOUT}[test]"]):
        status = run([*install, *packages], dict(os.environ))
        if status:
            sys.exit("Installing failed; pip says why above. A package index must be within reach.")
    return python


def run(command: list, environment: dict) -> int:
    print("+", *command, flush=True)
    return subprocess.run(command, cwd=CHECKOUT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
