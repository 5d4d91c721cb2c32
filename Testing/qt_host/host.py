"""Runs a scripted module's own files offscreen, on the real MRML scene of slicer-core and PySide6.

host = Host()                                # once in a process; sets up `qt`, `ctk` and `slicer.app`
module = host.load(Path("DeepRegister/DeepRegister.py"))
widget = host.open(module)                   # the module's own ...Widget, set up and entered
widget.panel.ui.runButton.click()
host.wait(lambda: not widget.panel.running)
host.check()                                 # raises what left a slot
"""

import importlib.util
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
from PySide6 import QtCore, QtWidgets

from . import pythonqt, slicer_module, slicer_widgets, ui_loader


class Host:
    """The part of Slicer's application that a module's panel sees. Needs `slicer.mrmlScene` to exist."""

    def __init__(self):
        self.application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
        self.application.setOrganizationName("DeepRegister tests")
        qt = pythonqt.install()
        qt.QUiLoader = ui_loader.UiLoader
        ctk = types.ModuleType("ctk")
        ctk.ctkCollapsibleButton = slicer_widgets.ctkCollapsibleButton
        ctk.ctkMessageBox = slicer_widgets.ctkMessageBox
        sys.modules["ctk"] = ctk
        slicer.qMRMLWidget = slicer_widgets.qMRMLWidget
        slicer.qMRMLNodeComboBox = slicer_widgets.qMRMLNodeComboBox
        slicer_module.install()

    def load(self, path: Path):
        """Import a module file and make its module object, as Slicer does at its start. Returns the Python module."""
        folder = str(path.resolve().parent)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        name = path.stem
        specification = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(specification)
        sys.modules[name] = module
        specification.loader.exec_module(module)
        module_object = slicer_module.ModuleObject(path.resolve())
        setattr(slicer.modules, name.lower(), module_object)
        getattr(module, name)(module_object)
        slicer.app._startup_completed.emit()
        self.check()
        return module

    def open(self, module):
        """Make the module's widget, set it up, show it and enter the module. Returns the widget."""
        name = module.__name__
        parent = slicer_module.qSlicerScriptedLoadableModuleWidget()
        parent.setMRMLScene(slicer.mrmlScene)
        widget = getattr(module, f"{name}Widget")(parent)
        parent._python = widget
        getattr(slicer.modules, name.lower())._widget = parent
        setattr(slicer.modules, f"{name}Widget", widget)
        widget.setup()
        self.enter(widget)
        parent.show()
        self.check()
        return widget

    def enter(self, widget):
        """What Slicer does when the user goes to the module."""
        widget.parent._entered = True
        widget.enter()

    def leave(self, widget):
        """What Slicer does when the user goes to another module."""
        widget.parent._entered = False
        widget.exit()

    def reload(self, widget):
        """What Slicer's Reload button does, by Slicer's own function. Returns the new widget, on show as the old one.

        As in Slicer it loads the module file alone again: the packages beside it stay as they are.
        """
        slicer.util.reloadScriptedModule(widget.moduleName)
        self.pump()
        self.check()
        return widget.parent.self()

    def close(self, widget):
        """What Slicer does when it ends."""
        self.leave(widget)
        widget.cleanup()
        delattr(slicer.modules, f"{widget.moduleName}Widget")
        widget.parent.close()
        self.pump()

    def pump(self):
        """Let Qt deliver what is waiting."""
        for _ in range(3):
            self.application.processEvents(QtCore.QEventLoop.AllEvents)
            self.application.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)

    def wait(self, condition: Callable[[], bool], seconds: float = 120.0):
        """Run the event loop until `condition` holds.

        Raises:
            TimeoutError: it did not within `seconds`.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds} s in vain")
            self.application.processEvents(QtCore.QEventLoop.AllEvents, 20)
            self.check()
            time.sleep(0.005)

    def check(self):
        """Raise the first exception that left a slot since the last call."""
        if pythonqt.errors:
            first = pythonqt.errors[0]
            pythonqt.errors.clear()
            raise first
