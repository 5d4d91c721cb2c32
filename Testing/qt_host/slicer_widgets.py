"""Stand-ins for the CTK and MRML widgets that the panel uses, with the properties, slots and signals of the real ones.

Only what PythonQt shows of the real classes is here: Q_PROPERTY, Q_INVOKABLE, slots and signals, as declared in
CTK's Libs/Widgets/ctkCollapsibleButton.h and ctkMessageBox.h, and in Slicer's Libs/MRML/Widgets/qMRMLWidget.h and
qMRMLNodeComboBox.h. A name that those lack is an error here, as it is in Slicer.
"""

from typing import ClassVar

import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from .pythonqt import PythonQt


def _stored(kind, name: str, default, changed: str = ""):
    """A Q_PROPERTY that keeps its value and, where `changed` names a function, calls it."""
    attribute = f"_{name}"

    def read(self):
        return self.__dict__.get(attribute, default)

    def write(self, value):
        self.__dict__[attribute] = value
        if changed:
            getattr(self, changed)()

    return Property(kind, read, write)


class ctkCollapsibleButton(PythonQt, QtWidgets.QAbstractButton):
    """A headed section whose contents a click on the head hides."""

    _sealed = True
    _signals: ClassVar = {"contentsCollapsed(bool)": "_contents_collapsed"}
    _contents_collapsed = Signal(bool, name="contentsCollapsed")

    def __init__(self, *arguments):
        text = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        super().__init__(arguments[-1] if arguments and not isinstance(arguments[-1], str) else None)
        self._hidden: set[QtWidgets.QWidget] = set()
        self._forcing = False
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        # As in CTK: "Maximum" would cut off texts that fold into more lines than the size hint counts.
        self.setSizePolicy(QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(0, self._head_height(), 0, 0)
        self.toggled.connect(self._apply)

    collapsed = Property(bool, lambda self: not self.isChecked(), lambda self, value: self.setChecked(not value))
    flat = _stored(bool, "flat", False)
    collapsedHeight = _stored(int, "collapsedHeight", 14)  # noqa: N815

    def _head_height(self) -> int:
        return QtWidgets.QWidget.fontMetrics(self).height() + 8

    def _apply(self, expanded: bool):
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                if expanded:
                    child.removeEventFilter(self)
                    self._force(child, child not in self._hidden)
                else:
                    self._fold(child)
        self.setMaximumHeight(16777215 if expanded else self._head_height() + 2)
        self._contents_collapsed.emit(not expanded)

    def _fold(self, child):
        # As in CTK what was hidden by somebody else stays hidden when the contents are shown again.
        (self._hidden.add if QtWidgets.QWidget.isHidden(child) else self._hidden.discard)(child)
        self._force(child, False)
        child.installEventFilter(self)

    def _force(self, child, visible: bool):
        self._forcing = True
        child.setVisible(visible)
        # Not counted as somebody's wish: otherwise hiding what is folded away would be no event.
        child.setAttribute(QtCore.Qt.WA_WState_ExplicitShowHide, child in self._hidden)
        self._forcing = False

    def eventFilter(self, child, event):
        """While the contents are folded away, note what is shown or hidden in them, and keep it out of sight."""
        if not self._forcing and event.type() == QtCore.QEvent.ShowToParent:
            self._hidden.discard(child)
            self._force(child, False)
        elif not self._forcing and event.type() == QtCore.QEvent.HideToParent:
            self._hidden.add(child)
        return False

    def childEvent(self, event):
        if event.added() and isinstance(event.child(), QtWidgets.QWidget) and not self.isChecked():
            self._fold(event.child())

    def hitButton(self, position) -> bool:
        return position.y() <= self._head_height()

    def paintEvent(self, event):
        painter = QtWidgets.QStylePainter(self)
        head = QtCore.QRect(0, 0, QtWidgets.QWidget.width(self), self._head_height())
        palette = QtWidgets.QWidget.palette(self)
        painter.fillRect(head, palette.color(QtGui.QPalette.Button).darker(104))
        arrow = QtWidgets.QStyleOption()
        arrow.rect = QtCore.QRect(6, 0, 14, head.height())
        arrow.palette = palette
        primitive = (
            QtWidgets.QStyle.PE_IndicatorArrowDown if self.isChecked() else QtWidgets.QStyle.PE_IndicatorArrowRight
        )
        painter.drawPrimitive(primitive, arrow)
        painter.drawText(head.adjusted(26, 0, 0, 0), QtCore.Qt.AlignVCenter, QtWidgets.QAbstractButton.text(self))
        painter.setPen(palette.color(QtGui.QPalette.Mid))
        painter.drawRect(QtWidgets.QWidget.rect(self).adjusted(0, 0, -1, -1))


class ctkMessageBox(PythonQt, QtWidgets.QMessageBox):
    """A message box; `slicer.util` makes its questions with it."""

    _sealed = True
    dontShowAgain = _stored(bool, "dontShowAgain", False)  # noqa: N815
    dontShowAgainVisible = _stored(bool, "dontShowAgainVisible", False)  # noqa: N815
    dontShowAgainSettingsKey = _stored(str, "dontShowAgainSettingsKey", "")  # noqa: N815


class qMRMLWidget(PythonQt, QtWidgets.QWidget):
    """A widget that hands a scene on to the widgets in it."""

    _sealed = True
    _signals: ClassVar = {"mrmlSceneChanged(vtkMRMLScene*)": "_scene_changed"}
    _scene_changed = Signal(object)

    def mrmlScene(self):
        return self.__dict__.get("_scene")

    def setMRMLScene(self, scene):
        if scene is not self.mrmlScene():
            self._scene = scene
            self._scene_changed.emit(scene)


class qMRMLNodeComboBox(PythonQt, QtWidgets.QWidget):
    """The list of a scene's nodes of some classes. Like the real one it is disabled until it is given a scene."""

    _sealed = True
    _signals: ClassVar = {
        "currentNodeChanged(vtkMRMLNode*)": "_current_node_changed",
        "currentNodeChanged(bool)": "_current_node_valid",
        "currentNodeIDChanged(QString)": "_current_node_id_changed",
        "nodeAdded(vtkMRMLNode*)": "_node_added",
        "nodeAddedByUser(vtkMRMLNode*)": "_node_added_by_user",
    }
    _current_node_changed = Signal(object)
    _current_node_valid = Signal(bool)
    _current_node_id_changed = Signal(str)
    _node_added = Signal(object)
    _node_added_by_user = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None
        self._node = None
        self._observed: list[tuple[object, int]] = []
        self._box = QtWidgets.QComboBox()
        self._box.setSizeAdjustPolicy(QtWidgets.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self._box.activated.connect(self._chosen)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        self._box.setEnabled(False)

    nodeTypes = _stored("QStringList", "nodeTypes", [], "_rebuild")  # noqa: N815
    hideChildNodeTypes = _stored("QStringList", "hideChildNodeTypes", [], "_rebuild")  # noqa: N815
    showChildNodeTypes = _stored(bool, "showChildNodeTypes", True, "_rebuild")  # noqa: N815
    showHidden = _stored(bool, "showHidden", False, "_rebuild")  # noqa: N815
    noneEnabled = _stored(bool, "noneEnabled", False, "_rebuild")  # noqa: N815
    noneDisplay = _stored(str, "noneDisplay", "None", "_rebuild")  # noqa: N815
    baseName = _stored(str, "baseName", "")  # noqa: N815
    addEnabled = _stored(bool, "addEnabled", True, "_rebuild")  # noqa: N815
    removeEnabled = _stored(bool, "removeEnabled", True)  # noqa: N815
    editEnabled = _stored(bool, "editEnabled", False)  # noqa: N815
    renameEnabled = _stored(bool, "renameEnabled", False)  # noqa: N815
    selectNodeUponCreation = _stored(bool, "selectNodeUponCreation", True)  # noqa: N815
    interactionNodeSingletonTag = _stored(str, "interactionNodeSingletonTag", "Singleton")  # noqa: N815
    currentNodeID = Property(  # noqa: N815
        str, lambda self: self._node.GetID() if self._node else "", lambda self, value: self.setCurrentNodeID(value)
    )

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed = []
        self._scene = scene
        self._box.setEnabled(scene is not None)
        if scene is not None:
            events = ("NodeAddedEvent", "NodeRemovedEvent", "EndCloseEvent", "EndImportEvent", "EndBatchProcessEvent")
            for event in events:
                tag = scene.AddObserver(getattr(slicer.vtkMRMLScene, event), lambda *_: self._rebuild())
                self._observed.append((scene, tag))
        self._rebuild()

    def _nodes(self) -> list:
        """The nodes on the list, in the scene's order."""
        if self._scene is None:
            return []
        found = []
        for index in range(self._scene.GetNumberOfNodes()):
            node = self._scene.GetNthNode(index)
            if node.GetHideFromEditors() and not self.showHidden:
                continue
            if any(node.IsA(hidden) for hidden in self.hideChildNodeTypes):
                continue
            exact = node.GetClassName() in self.nodeTypes
            if exact or (self.showChildNodeTypes and any(node.IsA(kind) for kind in self.nodeTypes)):
                found.append(node)
        return found

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodeFromIndex(self, index: int):
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def currentNode(self):
        return self._node

    def setCurrentNode(self, node):
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node) if self._scene and node else None
        if node is not None and not any(node is known for known in self._nodes()):
            node = None
        if node is self._node:
            return
        self._node = node
        self._rebuild()
        self._current_node_changed.emit(node)
        self._current_node_valid.emit(node is not None)
        self._current_node_id_changed.emit(node.GetID() if node else "")

    def setCurrentNodeID(self, identifier: str):
        self.setCurrentNode(identifier)

    def setCurrentNodeIndex(self, index: int):
        self.setCurrentNode(self.nodeFromIndex(index))

    def addNode(self, nodeType: str = ""):
        name = self._scene.GenerateUniqueName(self.baseName or (nodeType or self.nodeTypes[0])[len("vtkMRML") :])
        node = self._scene.AddNewNodeByClass(nodeType or self.nodeTypes[0], name)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        return node

    def removeCurrentNode(self):
        self._scene.RemoveNode(self._node)

    def _choices(self) -> list[tuple[str, object]]:
        choices = [(self.noneDisplay, None)] if self.noneEnabled else []
        choices += [(node.GetName(), node) for node in self._nodes()]
        if self.addEnabled and self._scene is not None:
            for kind in self.nodeTypes:
                tag = self._scene.GetTagByClassName(kind) or kind
                choices.append((f"Create new {tag}", kind))
        return choices

    def _rebuild(self):
        if "_box" not in self.__dict__:
            return
        nodes = self._nodes()
        if self._node is not None and not any(self._node is node for node in nodes):
            self.setCurrentNode(None)
            return
        if self._node is None and nodes and not self.noneEnabled:
            self.setCurrentNode(nodes[0])
            return
        self._box.blockSignals(True)
        self._box.clear()
        for row, (text, choice) in enumerate(self._choices()):
            self._box.addItem(text)
            if choice is self._node:
                self._box.setCurrentIndex(row)
        if self._node is None and not self.noneEnabled:
            self._box.setCurrentIndex(-1)
        self._box.blockSignals(False)

    def _chosen(self, row: int):
        choice = self._choices()[row][1]
        if isinstance(choice, str):
            self._node_added_by_user.emit(self.addNode(choice))
        else:
            self.setCurrentNode(choice)
