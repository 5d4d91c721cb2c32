"""Where results stand in the subject hierarchy, and what patient and study they belong to there."""

from __future__ import annotations

from slicer import vtkMRMLSubjectHierarchyConstants as Names

from .edit import SceneEdit


def placeBeside(node, source, edit: SceneEdit) -> None:
    """Put `node` under the same parent item (folder, study, patient) as `source`.

    Slicer gives every node of a scene an item. Without Slicer's application (in `slicer-core` alone) the scene may
    hold no hierarchy, or no item for the source: then there is no place beside it, and nothing is made up, since an
    item or a hierarchy node that the application did not make would be a change the user did not ask for.
    """
    hierarchy, item = itemOf(source)
    if hierarchy is None:
        return
    parent = hierarchy.GetItemParent(item)
    before = hierarchy.GetItemByDataNode(node)
    # For a node that has an item already, as every node in the application has, this only moves the item.
    placed = hierarchy.CreateItem(parent, node)
    if before == hierarchy.GetInvalidItemID():
        edit.afterwards(lambda: hierarchy.RemoveItem(placed, False, False))


def placeInStudy(node, referenceNode, source, edit: SceneEdit) -> None:
    """Put a volume resampled from `source` under the study of `referenceNode`, on whose grid it lies.

    There it belongs to that patient and study, and Slicer's DICOM export takes their tags from there. The series says
    of itself what does not come from its study: that it shares the reference's frame, and the source's modality.

    It stays beside the source where the reference is in no study, and where the two belong to different patients: an
    image of one person must not get the name of another.
    """
    hierarchy, reference = itemOf(referenceNode)
    study = None if hierarchy is None else studyOf(hierarchy, reference)
    _, sourceItem = itemOf(source)
    if study is None or not _samePatient(hierarchy, study, sourceItem):
        placeBeside(node, source, edit)
        return
    placeBeside(node, referenceNode, edit)
    item = hierarchy.GetItemByDataNode(node)
    frame, modality = Names.GetDICOMFrameOfReferenceUIDAttributeName(), Names.GetDICOMSeriesModalityAttributeName()
    values = {
        frame: hierarchy.GetItemAttribute(reference, frame),
        modality: hierarchy.GetItemAttribute(sourceItem, modality) if sourceItem is not None else "",
        Names.GetDICOMAttributePrefix() + "SeriesDescription": node.GetName(),
    }
    for name, value in values.items():
        if value:
            hierarchy.SetItemAttribute(item, name, value)


def itemOf(node):
    """The subject hierarchy of a node's scene and the node's item there; None, None where there is none."""
    hierarchy = node.GetScene().GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item = None if hierarchy is None else hierarchy.GetItemByDataNode(node)
    if hierarchy is None or item == hierarchy.GetInvalidItemID():
        return None, None
    return hierarchy, item


def studyOf(hierarchy, item) -> int | None:
    """The study item that an item is in, or None."""
    return _ancestor(hierarchy, item, Names.GetDICOMLevelStudy())


def patientOf(hierarchy, item) -> int | None:
    """The patient item that an item is in, or None."""
    return _ancestor(hierarchy, item, Names.GetDICOMLevelPatient())


def _ancestor(hierarchy, item, level: str) -> int | None:
    found = hierarchy.GetItemAncestorAtLevel(item, level)
    return None if found == hierarchy.GetInvalidItemID() else found


def _samePatient(hierarchy, study: int, item: int | None) -> bool:
    """Whether an item may belong to the patient of a study; it may where it says of no patient."""
    if item is None:
        return True
    patients = {patientOf(hierarchy, study), patientOf(hierarchy, item)} - {None}
    name = Names.GetDICOMPatientIDAttributeName()
    return len({hierarchy.GetItemAttribute(patient, name) or patient for patient in patients}) < 2
