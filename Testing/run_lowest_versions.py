#!/usr/bin/env python3
"""Run the engine's tests on the lowest versions that pyproject.toml claims. By hand, before a release.

    python3 Testing/run_lowest_versions.py [--environment FOLDER] [arguments for pytest ...]

Needs Python 3.11 or 3.12. Not part of continuous integration: older builds of torch bring gigabytes of CUDA.
"""

import argparse
import os
import sys
import tomllib
import venv
from pathlib import Path

from run_tests import CHECKOUT, PYTHON, check_python, run

# What the tests themselves run with may be recent.
TOOLS = ("hypothesis", "pytest", "pytest-timeout", "setuptools")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the engine's tests on the lowest versions that are claimed.")
    parser.add_argument("--environment", type=Path, default=CHECKOUT / ".venv-lowest", help="folder of the environment")
    options, for_pytest = parser.parse_known_args()
    check_python()
    folder = options.environment.resolve()
    venv.create(folder, with_pip=True)
    python = folder / PYTHON
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", CHECKOUT / "Testing" / "constraints.txt"]
    steps = (
        [*install, *TOOLS],
        [python, "-m", "pip", "install", "--quiet", *lowest_versions()],
        [python, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--editable", CHECKOUT],
        [python, "-m", "pytest", CHECKOUT / "Testing" / "engine", *for_pytest],
    )
    for step in steps:
        status = run(step, dict(os.environ))
        if status:
            return status
    return 0


def lowest_versions() -> list[str]:
    """The dependencies in pyproject.toml, each at its lower bound."""
    with (CHECKOUT / "pyproject.toml").open("rb") as file:
        dependencies = tomllib.load(file)["project"]["dependencies"]
    return [dependency.replace(">=", "==") for dependency in dependencies]


if __name__ == "__main__":
    sys.exit(main())
