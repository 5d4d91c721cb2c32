"""`QUiLoader` with PythonQt's manners that refuses a .ui file in which anything is misspelt.

Qt's own loader passes over an unknown property, and over a connection whose signal or slot does not exist; Slicer then
shows a selector that stays empty. Here each is an error that names the widget.
"""

from xml.etree import ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import slicer_widgets
from .pythonqt import PythonQt, find_signal, sealed


class UiError(Exception):
    """What is wrong in a .ui file, one line for each."""


class UiLoader(PythonQt, QtUiTools.QUiLoader):
    """Makes the widgets of a .ui file as PythonQt objects and honours its connections."""

    _sealed = True

    def __init__(self, parent=None):
        super().__init__(parent)
        self._problems: list[str] = []
        self._made: dict[str, QtWidgets.QWidget] = {}

    def load(self, device, parent=None):
        form = ElementTree.fromstring(bytes(device.readAll().data()))
        connections = form.find("connections")
        if connections is not None:
            # Qt cannot find the signals of Python classes: they are connected below.
            form.remove(connections)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(form))
        buffer.open(QtCore.QIODevice.ReadOnly)
        PythonQt._loading = True
        try:
            widget = QtUiTools.QUiLoader.load(self, buffer, parent)
        finally:
            PythonQt._loading = False
        for name in set(vars(widget)) & set(self._made):
            del vars(widget)[name]
        self._check_properties(form)
        if widget is not None and connections is not None:
            self._connect(connections)
        if self._problems:
            raise UiError("\n".join(self._problems))
        # Python objects of widgets that only C++ knows would be replaced by plain ones: keep them with the form.
        widget._made = self._made
        return widget

    def createWidget(self, class_name: str, parent=None, name: str = ""):
        # An exception that leaves this function ends the process: record it, and answer with an empty widget.
        try:
            cls = getattr(slicer_widgets, class_name, None) or sealed(getattr(QtWidgets, class_name))
            widget = cls(parent)
        except Exception as error:
            self._problems.append(f"{name}: {class_name} cannot be made: {error}")
            widget = QtWidgets.QWidget(parent)
        widget.setObjectName(name)
        self._made[name] = widget
        return widget

    def _check_properties(self, form):
        for element in form.iter("widget"):
            widget = self._made.get(element.get("name"))
            if widget is None:
                self._problems.append(f"{element.get('name')}: Qt made no widget of it")
                continue
            meta = QtCore.QObject.metaObject(widget)
            for entry in element.findall("property"):
                if entry.get("stdset") != "0" and meta.indexOfProperty(entry.get("name")) < 0:
                    self._problems.append(f"{element.get('name')}: {element.get('class')} has no {entry.get('name')}")

    def _connect(self, connections):
        for connection in connections:
            sender, signal, receiver, slot = (connection.findtext(p) for p in ("sender", "signal", "receiver", "slot"))
            try:
                function = getattr(self._made[receiver], slot.partition("(")[0])
                find_signal(self._made[sender], signal).connect(function)
            except (KeyError, AttributeError) as error:
                self._problems.append(f"{sender}.{signal} -> {receiver}.{slot}: {error}")
