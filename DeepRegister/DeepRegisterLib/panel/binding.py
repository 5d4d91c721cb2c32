"""Widgets bound to the module's parameters: what the user picks is saved with the scene, what a scene holds is shown.

In the .ui file the dynamic property `SlicerParameterName` of a widget names its parameter.
"""

from __future__ import annotations

import vtk

from ..scene.parameters import Parameters


class Binding:
    """Keeps widgets and parameter node equal while it is attached.

    Args:
        ui: widgets by name, as `slicer.util.childWidgetVariables` returns them.
        onChange: called after parameters or widgets have changed.
    """

    def __init__(self, ui, onChange):
        self._onChange = onChange
        self._parameters: Parameters | None = None
        self._observation: int | None = None
        self._updating = False
        self._widgets = {}
        for widget in vars(ui).values():
            name = widget.property("SlicerParameterName")
            if name:
                self._widgets[name] = widget
                self._connect(name, widget)

    @property
    def names(self) -> set[str]:
        """The parameters that have a widget."""
        return set(self._widgets)

    @property
    def parameters(self) -> Parameters | None:
        """The parameters it is attached to."""
        return self._parameters

    def attach(self, parameters: Parameters) -> None:
        """Show these parameters and follow them."""
        self.detach()
        self._parameters = parameters
        self._observation = parameters.node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._show)
        self._show()

    def detach(self) -> None:
        """Let go of the parameter node; the widgets keep what they show."""
        if self._parameters is not None:
            self._parameters.node.RemoveObserver(self._observation)
        self._parameters = self._observation = None

    def _connect(self, name: str, widget) -> None:
        if hasattr(widget, "currentNodeID"):
            widget.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self._store(name, node))
        elif hasattr(widget, "checked"):
            widget.connect("toggled(bool)", lambda checked: self._store(name, checked))
        elif hasattr(widget, "decimals"):
            widget.connect("valueChanged(double)", lambda value: self._store(name, value))
        else:
            widget.connect("currentIndexChanged(int)", lambda index: self._store(name, widget.itemData(index)))

    def _store(self, name: str, value) -> None:
        if self._updating or self._parameters is None:
            return
        setattr(self._parameters, name, value)
        self._onChange()

    def _show(self, caller=None, event=None) -> None:
        # A widget that shows a new value reports it as if the user had chosen it.
        if self._updating:
            return
        self._updating = True
        try:
            for name, widget in self._widgets.items():
                value = getattr(self._parameters, name)
                if hasattr(widget, "currentNodeID"):
                    widget.setCurrentNode(value)
                elif hasattr(widget, "checked"):
                    widget.checked = value
                elif hasattr(widget, "decimals"):
                    widget.value = value
                else:
                    widget.currentIndex = max(0, widget.findData(value))
        finally:
            self._updating = False
        self._onChange()
