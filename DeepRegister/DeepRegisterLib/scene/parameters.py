"""What the user chose, as typed properties over the module's parameter node, so that it is saved with the scene.

The node is a plain `vtkMRMLScriptedModuleNode`, the one that `ScriptedLoadableModuleLogic.getParameterNode` finds too.
"""

from __future__ import annotations

MODULE = "DeepRegister"


class _NodeReference:
    """A node of the scene, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.role = name

    def __get__(self, parameters: Parameters, owner: type):
        return self if parameters is None else parameters.node.GetNodeReference(self.role)

    def __set__(self, parameters: Parameters, node) -> None:
        parameters.node.SetNodeReferenceID(self.role, node.GetID() if node is not None else None)


class _Text:
    def __init__(self, default: str):
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, parameters: Parameters, owner: type):
        return self if parameters is None else parameters.node.GetParameter(self.name) or self.default

    def __set__(self, parameters: Parameters, value: str) -> None:
        parameters.node.SetParameter(self.name, value)


class _Flag:
    def __init__(self, default: bool):
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, parameters: Parameters, owner: type):
        if parameters is None:
            return self
        text = parameters.node.GetParameter(self.name)
        return text == "true" if text else self.default

    def __set__(self, parameters: Parameters, value: bool) -> None:
        # The words that Slicer's own parameter editing uses for check boxes.
        parameters.node.SetParameter(self.name, "true" if value else "false")


class Parameters:
    """The module's parameters. Two objects over one node always agree: all values live in the node.

    The name of each property is the name of the parameter, or the role of the node reference, on the node.
    `resultTransform` is no choice but what came of them: the transform of the last registration; see `CurrentResult`.
    """

    fixedVolume = _NodeReference()
    movingVolume = _NodeReference()
    fixedMask = _NodeReference()
    movingMask = _NodeReference()
    fixedLandmarks = _NodeReference()
    movingLandmarks = _NodeReference()
    initialTransform = _NodeReference()
    outputTransform = _NodeReference()
    resultTransform = _NodeReference()
    model = _Text("auto")
    quality = _Text("balanced")
    device = _Text("auto")
    createRegisteredVolume = _Flag(True)
    createInverse = _Flag(False)

    def __init__(self, node):
        self.node = node

    @classmethod
    def ofScene(cls, scene) -> Parameters:
        """The parameters of the module in a scene; the node is made if the scene has none."""
        node = scene.GetSingletonNode(MODULE, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(MODULE)
            node.SetName(MODULE)
            node = scene.AddNode(node)
        # Closing a scene takes the attribute off a singleton, which itself stays.
        node.SetAttribute("ModuleName", MODULE)
        return cls(node)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all parameters."""
        return tuple(name for name, value in vars(cls).items() if isinstance(value, (_NodeReference, _Text, _Flag)))
