"""The Qt host itself: it refuses what Slicer would refuse, and what Slicer would let pass in silence."""

import pytest
import qt
import slicer
from qt_host.ui_loader import UiError

FORM = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Form</class>
 <widget class="qMRMLWidget" name="Form"><layout class="QVBoxLayout" name="layout">
  <item><widget class="{widget}" name="selector">
   <property name="{name}"><bool>true</bool></property>
  </widget></item>
  <item><widget class="QPushButton" name="button"><property name="text"><string>Go</string></property></widget></item>
 </layout></widget>
 <connections><connection><sender>Form</sender><signal>{signal}</signal>
  <receiver>selector</receiver><slot>{slot}</slot></connection></connections>
</ui>
"""
RIGHT = {
    "widget": "qMRMLNodeComboBox",
    "name": "noneEnabled",
    "signal": "mrmlSceneChanged(vtkMRMLScene*)",
    "slot": "setMRMLScene(vtkMRMLScene*)",
}


def load(folder, **changes):
    path = folder / "Form.ui"
    path.write_text(FORM.format(**{**RIGHT, **changes}), encoding="utf-8")
    return slicer.util.loadUI(str(path))


def test_a_right_form_gives_its_selectors_the_scene(qt_host, scene, tmp_path):
    form = load(tmp_path)
    ui = slicer.util.childWidgetVariables(form)
    assert ui.selector.noneEnabled
    assert ui.selector.mrmlScene() is None
    form.setMRMLScene(scene)
    assert ui.selector.mrmlScene() is scene
    # As in Slicer, a form does not carry its widgets as attributes.
    assert not hasattr(form, "selector")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "noneEnable"}, "has no noneEnable"),
        ({"signal": "mrmlSceneChange(vtkMRMLScene*)"}, "mrmlSceneChange"),
        ({"slot": "setMrmlScene(vtkMRMLScene*)"}, "setMrmlScene"),
        ({"widget": "qMRMLNodeComboBoxx"}, "qMRMLNodeComboBoxx cannot be made"),
    ],
)
def test_a_misspelt_form_is_refused(qt_host, scene, tmp_path, changes, said):
    with pytest.raises(UiError, match=said):
        load(tmp_path, **changes)


def test_properties_are_attributes_and_no_others_can_be_set(qt_host):
    button = qt.QPushButton("Run")
    button.text = "Cancel"
    button.enabled = False
    assert (button.text, button.enabled) == ("Cancel", False)
    with pytest.raises(AttributeError, match="no property 'enable'"):
        button.enable = True
    with pytest.raises(TypeError):
        button.text()
    selector = slicer.qMRMLNodeComboBox()
    with pytest.raises(AttributeError, match="no property 'noneText'"):
        selector.noneText = "None"


def test_signals_are_found_by_their_signature_only(qt_host):
    button = qt.QPushButton("Run")
    got = []
    button.connect("clicked()", lambda: got.append("clicked"))
    button.connect("clicked(bool)", got.append)
    button.click()
    assert got == ["clicked", False]
    for signature in ("click()", "clicked(int)", "clicked"):
        with pytest.raises(AttributeError, match="has no signal"):
            button.connect(signature, print)
    selector = slicer.qMRMLNodeComboBox()
    with pytest.raises(AttributeError, match="has no signal"):
        selector.connect("currentNodeChanged(vtkMRMLNode)", print)


def test_what_a_slot_raises_reaches_the_test(qt_host):
    def fail():
        raise ValueError("in a slot")

    button = qt.QPushButton("Run")
    button.connect("clicked()", fail)
    button.click()
    with pytest.raises(ValueError, match="in a slot"):
        qt_host.check()


def test_a_selector_follows_the_scene(qt_host, scene):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.showChildNodeTypes = False
    selector.noneEnabled = True
    changes = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", changes.append)
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    assert selector.nodeCount() == 0
    selector.setMRMLScene(scene)
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Mask")
    assert [selector.nodeFromIndex(row) for row in range(selector.nodeCount())] == [volume]
    selector.setCurrentNode(volume)
    assert selector.currentNodeID == volume.GetID()
    scene.RemoveNode(volume)
    assert selector.currentNode() is None
    assert changes == [volume, None]


def test_a_folded_section_remembers_what_was_hidden(qt_host):
    import ctk

    section = ctk.ctkCollapsibleButton("Section")
    layout = qt.QVBoxLayout(section)
    shown, hidden = qt.QLabel("shown"), qt.QLabel("hidden")
    for label in (shown, hidden):
        layout.addWidget(label)
    hidden.visible = False
    section.show()
    section.collapsed = True
    assert not shown.visible
    section.collapsed = False
    assert (shown.visible, hidden.visible) == (True, False)
    section.collapsed = True
    shown.visible = False
    hidden.visible = True
    assert not hidden.visible
    section.collapsed = False
    assert (shown.visible, hidden.visible) == (False, True)
    section.close()
