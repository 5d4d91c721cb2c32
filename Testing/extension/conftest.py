"""Fixtures of the extension's tests."""

import shutil
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout() -> Path:
    """The folder of the checkout."""
    return CHECKOUT


@pytest.fixture
def copied_checkout(tmp_path) -> Path:
    """What the build reads of the checkout, as a copy that a test may change."""
    copy = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("DeepRegister", "Testing/cmake"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=ignored)
    shutil.copy(CHECKOUT / "CMakeLists.txt", copy)
    return copy
