"""Fixtures of the panel's tests: the module's own files in the Qt host, on a fresh MRML scene."""

from pathlib import Path

import numpy as np
import pytest
from driving import choosePair
from headless_slicer import HeadlessSlicer
from qt_host.host import Host

# Before any test file is imported: the panel's own files import `qt`.
HOST = Host()
DEEPREGISTER = Path(__file__).resolve().parents[2] / "DeepRegister"


@pytest.fixture
def scene():
    """A fresh scene with the three slice views of Slicer's usual layout."""
    slicer_without_application = HeadlessSlicer()
    # The slice logics own the views' nodes: keep them as long as the scene.
    views = [slicer_without_application.addSliceView(name) for name in ("Red", "Yellow", "Green")]
    yield slicer_without_application.scene
    slicer_without_application.close()
    del views


@pytest.fixture
def qt_host(scene):
    """The Qt host; a slot that raised fails the test."""
    yield HOST
    HOST.check()


@pytest.fixture
def module(qt_host):
    """The module file, imported as Slicer imports it."""
    return qt_host.load(DEEPREGISTER / "DeepRegister.py")


@pytest.fixture
def widget(qt_host, module):
    """The module's widget, opened; closed after the test, which ends its worker."""
    opened = qt_host.open(module)
    yield opened
    qt_host.close(opened)


@pytest.fixture
def panel(widget):
    """The panel in the widget."""
    return widget.panel


@pytest.fixture
def pair(scene, module):
    """A fixed volume node and a moving one: the same smooth blobs, a known shift apart."""
    from DeepRegisterLib.selftest import SHIFT_RAS_MM, addPhantom

    return addPhantom("Before surgery", np.zeros(3)), addPhantom("After surgery", SHIFT_RAS_MM)


@pytest.fixture
def ready(panel, pair):
    """The panel with the pair chosen, and the quickest way to register it."""
    choosePair(panel, pair)
    return panel
