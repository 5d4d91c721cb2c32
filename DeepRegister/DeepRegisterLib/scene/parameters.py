"""What the user chose, as typed properties over the module's parameter node, so that it is saved with the scene.

The node is a plain `vtkMRMLScriptedModuleNode`, the one that `ScriptedLoadableModuleLogic.getParameterNode` finds too.
"""

from __future__ import annotations

from typing import Any

from deepregister import Settings

MODULE = "DeepRegister"


class _NodeReference:
    """A node of the scene, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.role = name

    def __get__(self, parameters: Parameters, owner: type):
        return self if parameters is None else parameters.node.GetNodeReference(self.role)

    def __set__(self, parameters: Parameters, node) -> None:
        parameters.node.SetNodeReferenceID(self.role, node.GetID() if node is not None else None)


class _Value:
    """A parameter that the node holds as text under the property's name."""

    def __init__(self, default):
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name


class _Text(_Value):
    def __get__(self, parameters: Parameters, owner: type):
        return self if parameters is None else parameters.node.GetParameter(self.name) or self.default

    def __set__(self, parameters: Parameters, value: str) -> None:
        parameters.node.SetParameter(self.name, value)


class _Flag(_Value):
    def __get__(self, parameters: Parameters, owner: type):
        if parameters is None:
            return self
        text = parameters.node.GetParameter(self.name)
        return text == "true" if text else self.default

    def __set__(self, parameters: Parameters, value: bool) -> None:
        # The words that Slicer's own parameter editing uses for check boxes.
        parameters.node.SetParameter(self.name, "true" if value else "false")


class _Number(_Value):
    def __get__(self, parameters: Parameters, owner: type):
        if parameters is None:
            return self
        # What another program, or a person, has written there may be anything.
        try:
            return float(parameters.node.GetParameter(self.name) or self.default)
        except ValueError:
            return self.default

    def __set__(self, parameters: Parameters, value: float) -> None:
        parameters.node.SetParameter(self.name, repr(float(value)))


# Words for what comes out, and for whether the field of a learned model is refined (as `Settings.refine`).
OUTPUTS = ("both", "transform", "volume")
REFINEMENTS = {"auto": None, "yes": True, "no": False}


class Parameters:
    """The module's parameters. Two objects over one node always agree: all values live in the node.

    The name of each property is the name of the parameter, or the role of the node reference, on the node.
    `resultTransform` is no choice but what came of them: the transform of the last registration; see `CurrentResult`.
    `fixedPoints`, `movingPoints` and the segmentations are what a result is checked with, `emphasis` is where it is to
    be improved; none of them has a part in a registration.
    `output` is one of `OUTPUTS`, `refinement` of `REFINEMENTS`; a `fieldSpacingMm` of 0 leaves it to the quality.
    """

    fixedVolume = _NodeReference()
    movingVolume = _NodeReference()
    fixedMask = _NodeReference()
    movingMask = _NodeReference()
    slidingRegions = _NodeReference()
    fixedLandmarks = _NodeReference()
    movingLandmarks = _NodeReference()
    initialTransform = _NodeReference()
    outputTransform = _NodeReference()
    resultTransform = _NodeReference()
    fixedPoints = _NodeReference()
    movingPoints = _NodeReference()
    fixedSegmentation = _NodeReference()
    movingSegmentation = _NodeReference()
    emphasis = _NodeReference()
    model = _Text("auto")
    quality = _Text("balanced")
    device = _Text("auto")
    output = _Text("both")
    createInverse = _Flag(False)
    similarity = _Text("auto")
    fieldSpacingMm = _Number(0.0)
    landmarkSigmaMm = _Number(1.0)
    refinement = _Text("auto")
    toleranceMm = _Number(5.0)

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
        return tuple(name for name, value in vars(cls).items() if isinstance(value, (_NodeReference, _Value)))

    def settings(self) -> Settings:
        """The settings that these choices stand for.

        Raises:
            InputError: a value that no setting can have, as a scene from elsewhere may hold.
        """
        return Settings(
            model=self.model,
            quality=self.quality,
            device=self.device,
            similarity=self.similarity,
            field_spacing_mm=self.fieldSpacingMm or None,
            refine=REFINEMENTS.get(self.refinement),
            landmark_sigma_mm=self.landmarkSigmaMm,
        )

    def options(self) -> dict[str, Any]:
        """All choices but the two volumes, as `RegistrationLogic.register` and `start` take them.

        Raises:
            InputError: as `settings`.
        """
        return {
            "settings": self.settings(),
            "fixedMaskNode": self.fixedMask,
            "movingMaskNode": self.movingMask,
            "regionsNode": self.slidingRegions,
            "initialTransformNode": self.initialTransform,
            "fixedLandmarksNode": self.fixedLandmarks,
            "movingLandmarksNode": self.movingLandmarks,
            "outputTransformNode": self.outputTransform,
            "createRegisteredVolume": self.output != "transform",
            "applyTransform": self.output != "volume",
            "createInverse": self.createInverse,
        }
