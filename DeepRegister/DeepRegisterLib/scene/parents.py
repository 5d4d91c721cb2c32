"""Which transforms a volume sits under, and how a result that maps world to world comes on top of them."""

from __future__ import annotations

from deepregister.errors import InputError

from .edit import SceneEdit
from .frame import nodesOfClass

# On a node that belongs to a volume, as landmarks on it do: the volume that it moves with.
VOLUME_ROLE = "DeepRegister.PointsOn"


def parentChain(node, frame=None) -> list:
    """The transform nodes that `node` sits under, its own parent first; `frame` and what is above it left out."""
    chain = []
    parent = node.GetParentTransformNode()
    while parent is not None and parent is not frame:
        chain.append(parent)
        parent = parent.GetParentTransformNode()
    return chain


def nodesUnder(transformNode) -> list:
    """The nodes whose own parent is `transformNode`."""
    nodes = nodesOfClass(transformNode.GetScene(), "vtkMRMLTransformableNode")
    return [node for node in nodes if node.GetParentTransformNode() is transformNode]


def checkOutput(outputNode, fixedNode, movingNode) -> None:
    """Refuse an output transform that the result could not be written to without moving what it should not.

    Raises:
        InputError: the output sits under a transform itself, or the fixed volume sits under the output.
    """
    above = outputNode.GetParentTransformNode()
    if above is not None:
        raise InputError(
            f"The output transform {outputNode.GetName()} sits under {above.GetName()}, but a result maps world to "
            "world. Take it out of there, or choose another output."
        )
    if outputNode in parentChain(fixedNode):
        raise InputError(
            f"The fixed volume {fixedNode.GetName()} sits under the output transform {outputNode.GetName()}, so the "
            "result would move it. Choose another output."
        )


def putUnder(movingNode, resultNode, edit: SceneEdit) -> str:
    """Show the moving volume under the result and say how, in one sentence.

    A volume under no transform goes under the result directly. Transforms of its own, which move nothing else, stay
    with it and go under the result together. Transforms that move other nodes too are left alone: the volume leaves
    them for copies, which go under the result, so that it sees the same composition.
    """
    chain = parentChain(movingNode, resultNode)
    if not chain:
        edit.setParentTransform(movingNode, resultNode)
        return f"{movingNode.GetName()} is shown under {resultNode.GetName()}."
    if chain[-1].GetParentTransformNode() is resultNode:
        return f"{movingNode.GetName()} stays under {_names(chain)} and {resultNode.GetName()}."
    ours = [movingNode, *chain]
    under = [node for transform in chain for node in nodesUnder(transform)]
    others = [node for node in under if node not in ours and node.GetNodeReference(VOLUME_ROLE) is not movingNode]
    if not others:
        edit.setParentTransform(chain[-1], resultNode)
        return f"{movingNode.GetName()} stays under {_names(chain)}, now under {resultNode.GetName()}."
    parent = resultNode
    for transform in reversed(chain):
        copy = edit.add(transform.GetClassName(), f"{transform.GetName()} of {movingNode.GetName()}")
        copy.CopyContent(transform)
        edit.setParentTransform(copy, parent)
        parent = copy
    edit.setParentTransform(movingNode, parent)
    return (
        f"{movingNode.GetName()} shared {_names(chain)} with {_names(others)}, which stay where they are; it is now "
        f"under a copy, under {resultNode.GetName()}."
    )


def _names(nodes: list) -> str:
    names = [node.GetName() for node in nodes]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
