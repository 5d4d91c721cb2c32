"""Where results stand in the subject hierarchy: beside the volume they were made from."""

from __future__ import annotations

from .edit import SceneEdit


def placeBeside(node, source, edit: SceneEdit) -> None:
    """Put `node` under the same parent item (folder, study, patient) as `source`.

    Slicer gives every node of a scene an item. Without Slicer's application (in `slicer-core` alone) the scene may
    hold no hierarchy, or no item for the source: then there is no place beside it, and nothing is made up, since an
    item or a hierarchy node that the application did not make would be a change the user did not ask for.
    """
    scene = node.GetScene()
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    if hierarchy is None:
        return
    item = hierarchy.GetItemByDataNode(source)
    if item == hierarchy.GetInvalidItemID():
        return
    parent = hierarchy.GetItemParent(item)
    before = hierarchy.GetItemByDataNode(node)
    # For a node that has an item already, as every node in the application has, this only moves the item.
    placed = hierarchy.CreateItem(parent, node)
    if before == hierarchy.GetInvalidItemID():
        edit.afterwards(lambda: hierarchy.RemoveItem(placed, False, False))
