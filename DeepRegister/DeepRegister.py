"""What Slicer looks for in the module: its description, widget, logic, test and sample data. The work is done below."""

import slicer
from DeepRegisterLib.panel import RegistrationPanel
from DeepRegisterLib.scene.logic import RegistrationLogic
from DeepRegisterLib.selftest import SelfTest
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# Pairs of volumes that Slicer publishes, fixed and moving: node name, file, and SHA-256, which is its address too.
SAMPLE_PAIRS = {
    "DeepRegisterBrainTumor": (
        ("MRBrainTumor1", "RegLib_C01_1.nrrd", "998cb522173839c78657f4bc0ea907cea09fd04e44601f17c82ea27927937b95"),
        ("MRBrainTumor2", "RegLib_C01_2.nrrd", "1a64f3f422eb3d1c9b093d1a18da354b13bcf307907c66317e2463ee530b7a97"),
    ),
    "DeepRegisterBrainMRCT": (
        ("MRBrainT1", "MR-brain-T1.nrrd", "2da3f655ed20356ee8cdf32aa0f8f9420385de4b6e407d28e67f9974d7ce1593"),
        ("CTBrain", "CT-brain.nrrd", "6a5b6caccb76576a863beb095e3bfb910c50ca78f4c9bf043aa42f976cfa53d1"),
    ),
}


def registerSampleData():
    """Offer the sample pairs in Slicer's Sample Data module."""
    from SampleData import SampleDataLogic

    for name, volumes in SAMPLE_PAIRS.items():
        nodes, files, digests = zip(*volumes, strict=True)
        SampleDataLogic.registerCustomSampleDataSource(
            category="DeepRegister",
            sampleName=name,
            uris=[f"https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/{d}" for d in digests],
            fileNames=list(files),
            nodeNames=list(nodes),
            checksums=[f"SHA256:{digest}" for digest in digests],
        )


class DeepRegister(ScriptedLoadableModule):
    """Metadata of the module."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("DeepRegister")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        parent.dependencies = []
        parent.contributors = ["The DeepRegister developers"]
        parent.helpText = _(
            "Brings a moving volume onto a fixed one with PyTorch: rigid, affine or deformable, on the graphics card "
            "or the processor. The result is an ordinary transform that every other module can use; the panel says "
            "how good it is. "
            '<a href="https://github.com/DeepRegister/SlicerDeepRegister">Documentation and tutorial</a>'
        )
        parent.acknowledgementText = _(
            "Built on PyTorch, ITK and 3D Slicer. The papers behind each model are named in its card and listed in the "
            "documentation. For research; not cleared for clinical use."
        )
        # The Sample Data module may be loaded after this one.
        slicer.app.connect("startupCompleted()", registerSampleData)


class DeepRegisterWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Puts the panel into Slicer's module panel and tells it what happens around it."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self):
        """Called by Slicer when the module is opened for the first time."""
        super().setup()
        self.logic = DeepRegisterLogic()
        self.panel = RegistrationPanel(self.logic, self.resourcePath("UI"))
        self.layout.addWidget(self.panel)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.panel.attach()

    def enter(self):
        """Called by Slicer each time the user comes to the module."""
        self.panel.attach()

    def exit(self):
        """Called by Slicer each time the user leaves the module; a run goes on."""
        self.panel.detach()

    def cleanup(self):
        """Called by Slicer before the module is unloaded."""
        self.removeObservers()
        self.panel.cleanup()

    def onSceneStartClose(self, caller, event):
        """The nodes are about to go."""
        self.panel.leaveScene()

    def onSceneEndClose(self, caller, event):
        """The scene is empty."""
        if self.parent.isEntered:
            self.panel.attach()

    def onSceneEndImport(self, caller, event):
        """A saved scene was read, and with it the choices that were made in it."""
        if self.parent.isEntered:
            self.panel.attach()


class DeepRegisterLogic(ScriptedLoadableModuleLogic, RegistrationLogic):
    """All that the console can do: `DeepRegisterLogic().register(fixedNode, movingNode)`."""


class DeepRegisterTest(SelfTest, ScriptedLoadableModuleTest):
    """Registers through PythonSlicer in the running application; see `DeepRegisterLib.selftest`."""

    def makeLogic(self):
        """The logic to test, with a worker of its own."""
        return DeepRegisterLogic()
