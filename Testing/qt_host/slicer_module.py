"""What Slicer's application gives a scripted module: base classes, the module object, the application's signals.

The base classes do what Slicer's Base/Python/slicer/ScriptedLoadableModule.py does for a module outside developer
mode. The module object has the writable properties of Base/QTGUI/qSlicerScriptedLoadableModule.h and no other.
"""

import importlib
import logging
import sys
import types
import unittest
from pathlib import Path
from typing import ClassVar

import slicer
from headless_slicer import HeadlessSlicer
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal

from .pythonqt import PythonQt
from .slicer_widgets import qMRMLWidget


class ModuleObject:
    """`slicer.modules.<name>`, the parent of a `ScriptedLoadableModule`."""

    __slots__ = (
        "_widget",
        "acknowledgementText",
        "associatedNodeTypes",
        "categories",
        "contributors",
        "dependencies",
        "extensions",
        "helpText",
        "hidden",
        "icon",
        "index",
        "path",
        "title",
    )

    def __init__(self, path: Path):
        self.path = str(path)
        self._widget = None

    def widgetRepresentation(self):
        return self._widget


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The parent of a `ScriptedLoadableModuleWidget`: a vertical layout and whether the module is on show."""

    _sealed = True
    _entered = False
    _python = None
    isEntered = Property(bool, lambda self: self._entered)  # noqa: N815

    def __init__(self):
        super().__init__()
        QtWidgets.QVBoxLayout(self)

    def self(self):
        return self._python

    def reload(self):
        module = sys.modules[type(self._python).__module__]
        self._python = getattr(module, type(self._python).__name__)(self)
        setattr(slicer.modules, type(self._python).__name__, self._python)
        self._python.setup()


class FileManager:
    """`slicer.app.coreIOManager()` for transforms, so that the real `slicer.util.saveNode` and `loadTransform` run."""

    def fileWriterFileType(self, node) -> str:
        return "TransformFile"

    def saveNodes(self, kind: str, properties: dict, messages) -> bool:
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(properties["fileName"])
        return bool(node.GetStorageNode().WriteData(node))

    def loadNodes(self, kind: str, properties: dict, loaded, messages) -> bool:
        path = Path(properties["fileName"])
        # Slicer's own reader, too, lets the file decide between a linear and a grid transform.
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", path.stem)
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(str(path))
        loaded.AddItem(node)
        return bool(node.GetStorageNode().ReadData(node))


class ModuleManager:
    """`slicer.app.moduleManager()`."""

    def module(self, name: str):
        return getattr(slicer.modules, name.lower(), None)


class Application(PythonQt, QtWidgets.QWidget):
    """The parts of `slicer.app` that a module uses."""

    _sealed = True
    _signals: ClassVar = {"startupCompleted()": "_startup_completed", "aboutToQuit()": "_about_to_quit"}
    _startup_completed = Signal()
    _about_to_quit = Signal()
    applicationName = "Slicer"  # noqa: N815

    def testingEnabled(self) -> bool:
        return False

    def moduleManager(self) -> ModuleManager:
        return ModuleManager()

    def applicationLogic(self):
        return HeadlessSlicer.current.applicationLogic

    def coreIOManager(self) -> FileManager:
        return FileManager()

    def topLevelWidgets(self) -> list:
        return []

    def clipboard(self):
        return QtWidgets.QApplication.clipboard()

    def processEvents(self):
        QtWidgets.QApplication.processEvents()

    def translate(self, context: str, text: str) -> str:
        return text


class ScriptedLoadableModule:
    def __init__(self, parent):
        super().__init__()
        self.parent = parent
        self.moduleName = self.__class__.__name__
        slicer.selfTests = getattr(slicer, "selfTests", {})
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename):
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage=None):
        return ""

    def runTest(self, msec=100, **kwargs):
        test = getattr(importlib.import_module(self.__module__), f"{self.moduleName}Test")()
        test.messageDelay = msec
        test.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = self.__class__.__name__.removesuffix("Widget")
        self.developerMode = False
        self.parent = parent
        self.layout = parent.layout()

    def setup(self):
        pass

    def cleanup(self):
        pass

    def resourcePath(self, filename):
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = self.__class__.__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        return node or slicer.mrmlScene.AddNode(self.createParameterNode())

    def createParameterNode(self):
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.moduleTestNames = [name for name in dir(self) if "test" in name and callable(getattr(self, name))]

    def delayDisplay(self, message, requestedDelay=None, msec=None):
        logging.info(message)

    def runTest(self):
        for name in self.moduleTestNames:
            self.setUp()
            getattr(self, name)()
            self.tearDown()


class SampleDataLogic:
    """The door of Slicer's Sample Data module, with the parameters of its own; it downloads nothing."""

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFiles=None,
        loadFileProperties=None,
        checksums=None,
        loadFileType=None,
    ):
        sources = slicer.modules.__dict__.setdefault("sampleDataSources", {})
        source = {"uris": uris, "fileNames": fileNames, "nodeNames": nodeNames, "checksums": checksums}
        sources.setdefault(category, {})[sampleName] = source


def _download(sampleName):
    raise OSError(f"the test host has no network for {sampleName}")


def install():
    """Make `slicer.ScriptedLoadableModule`, `slicer.i18n`, `slicer.modules` and `slicer.app` what a module expects."""
    base = types.ModuleType("slicer.ScriptedLoadableModule")
    for cls in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(base, cls.__name__, cls)
    base.__all__ = [name for name in vars(base) if name.startswith("Scripted")]
    translation = types.ModuleType("slicer.i18n")
    translation.tr = lambda text: text
    translation.translate = lambda context, text: text
    samples = types.ModuleType("SampleData")
    samples.SampleDataLogic = SampleDataLogic
    samples.downloadSamples = _download
    sys.modules["SampleData"] = samples
    for module in (base, translation):
        sys.modules[module.__name__] = module
        setattr(slicer, module.__name__.rpartition(".")[2], module)
    slicer.qSlicerScriptedLoadableModuleWidget = qSlicerScriptedLoadableModuleWidget
    if not hasattr(slicer, "modules"):
        slicer.modules = types.SimpleNamespace()
    if not isinstance(getattr(slicer, "app", None), Application):
        slicer.app = Application()
