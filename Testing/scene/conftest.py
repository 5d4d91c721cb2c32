"""Fixtures of the scene's tests: a fresh MRML scene for each, and a logic over the real worker process."""

import pytest
from deepregister.client import EngineClient
from DeepRegisterLib.scene.logic import RegistrationLogic
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


@pytest.fixture(scope="module")
def client():
    """One worker for all tests of a file: it loads torch once."""
    with EngineClient() as engine:
        yield engine


@pytest.fixture
def logic(client):
    return RegistrationLogic(client)
