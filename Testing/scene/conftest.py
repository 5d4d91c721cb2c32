"""Fixtures of the scene's tests: a fresh MRML scene for each."""

import pytest
from headless_slicer import HeadlessSlicer


@pytest.fixture
def host():
    """A fresh scene with Slicer's module logics."""
    slicer_without_application = HeadlessSlicer()
    yield slicer_without_application
    slicer_without_application.close()


@pytest.fixture
def scene(host):
    """A fresh `vtkMRMLScene`."""
    return host.scene
