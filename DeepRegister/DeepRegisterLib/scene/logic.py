"""`RegistrationLogic`: registration of nodes, as the console and the panel use it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import slicer
from deepregister import Progress, Settings
from deepregister.client import EngineClient
from deepregister.doctor.process import Diagnosis, diagnose
from deepregister.models.registry import list_models

from .cohort import PairResult, checkPairs, runPairs
from .looking.looking import Looking
from .request import requestFromNodes
from .results import RegistrationNodes
from .running import RunningRegistration
from .trusting import Trusting
from .using import Using


class RegistrationLogic(Using, Trusting):
    """Registers volumes of the scene through a worker process that is kept for the next run.

        nodes = RegistrationLogic().register(fixedNode, movingNode, model="deformable")
        nodes.transformNode, nodes.registeredVolumeNode, nodes.registration.measures

    Args:
        client: of the worker process; None starts one when it is first needed.
    """

    def __init__(self, client: EngineClient | None = None):
        super().__init__()
        self._client = client

    def register(
        self,
        fixedNode,
        movingNode,
        model: str = "auto",
        quality: str = "balanced",
        device: str = "auto",
        *,
        fixedMaskNode=None,
        movingMaskNode=None,
        regionsNode=None,
        initialTransformNode=None,
        fixedLandmarksNode=None,
        movingLandmarksNode=None,
        outputTransformNode=None,
        createRegisteredVolume: bool = True,
        applyTransform: bool = True,
        createInverse: bool = False,
        settings: Settings | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> RegistrationNodes:
        """Register the moving volume to the fixed one and wait for the result.

        Args:
            fixedNode: scalar or label map volume that stays where it is.
            movingNode: scalar or label map volume that is brought onto it.
            model: name of a model type, or "auto"; see `models`.
            quality: "fast", "balanced" or "accurate".
            device: "auto", "cpu", "cuda", "cuda:N" or "mps".
            fixedMaskNode: label map or segmentation: only what lies inside counts. Likewise `movingMaskNode`.
            regionsNode: label map, or segmentation with a region for each shown segment: parts of the fixed volume that
                may slide along each other; what is in none of them is one more.
            initialTransformNode: where to start: what would bring the moving volume near the fixed one.
            fixedLandmarksNode: point list; its points pair with those of `movingLandmarksNode` in their order.
            outputTransformNode: transform to overwrite; None makes a new one.
            createRegisteredVolume: also make a volume "<moving> registered" on the fixed volume's grid.
            applyTransform: put the moving volume under the transform, so that it is shown on the fixed one.
            createInverse: also make a transform of the engine's inverse.
            settings: all settings in one value, instead of model, quality and device.
            progress: called with each report; what it raises cancels the run.

        Returns:
            The nodes that were made.

        Raises:
            DeepRegisterError: the text says what was wrong and what to do; the scene is as it was before.
        """
        running = self.start(
            fixedNode,
            movingNode,
            model,
            quality,
            device,
            fixedMaskNode=fixedMaskNode,
            movingMaskNode=movingMaskNode,
            regionsNode=regionsNode,
            initialTransformNode=initialTransformNode,
            fixedLandmarksNode=fixedLandmarksNode,
            movingLandmarksNode=movingLandmarksNode,
            outputTransformNode=outputTransformNode,
            createRegisteredVolume=createRegisteredVolume,
            applyTransform=applyTransform,
            createInverse=createInverse,
            settings=settings,
        )
        return running.finish(progress)

    def start(
        self,
        fixedNode,
        movingNode,
        model: str = "auto",
        quality: str = "balanced",
        device: str = "auto",
        *,
        fixedMaskNode=None,
        movingMaskNode=None,
        regionsNode=None,
        initialTransformNode=None,
        fixedLandmarksNode=None,
        movingLandmarksNode=None,
        outputTransformNode=None,
        createRegisteredVolume: bool = True,
        applyTransform: bool = True,
        createInverse: bool = False,
        settings: Settings | None = None,
    ) -> RunningRegistration:
        """Start what `register` does and return at once; the caller polls and then finishes it.

        Raises:
            DeepRegisterError: the nodes cannot be registered, or the worker cannot be started.
        """
        request = requestFromNodes(
            fixedNode,
            movingNode,
            settings or Settings(model=model, quality=quality, device=device),
            fixedMaskNode=fixedMaskNode,
            movingMaskNode=movingMaskNode,
            regionsNode=regionsNode,
            initialTransformNode=initialTransformNode,
            fixedLandmarksNode=fixedLandmarksNode,
            movingLandmarksNode=movingLandmarksNode,
            outputTransformNode=outputTransformNode,
            createRegisteredVolume=createRegisteredVolume,
            applyTransform=applyTransform,
            createInverse=createInverse,
        )
        job = self.client.submit(
            request.fixed,
            request.moving,
            request.settings,
            fixed_mask=request.fixedMask,
            moving_mask=request.movingMask,
            regions=request.regions,
            initial=request.initial,
            landmarks=request.landmarks,
        )
        return RunningRegistration(request, job)

    def registerCohort(
        self,
        pairs: Iterable[tuple[object, object]],
        model: str = "auto",
        quality: str = "balanced",
        device: str = "auto",
        *,
        createRegisteredVolume: bool = True,
        settings: Settings | None = None,
        progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[PairResult]:
        """Register many pairs, one after the other; a pair that fails does not stop the others.

        Args:
            pairs: (fixed, moving) volume nodes; each volume is moved at most once.
            model, quality, device, settings: as in `register`, for all pairs.
            createRegisteredVolume: as in `register`.
            progress: called with the state of the whole; what it raises ends the cohort.
            cancelled: True stops the cohort; what is finished stays.

        Returns:
            For each pair, in the order given, its nodes or its error.

        Raises:
            InputError: pairs that cannot be registered, all at once; nothing was started.
        """
        pairs, settings = list(pairs), settings or Settings(model=model, quality=quality, device=device)
        checkPairs(pairs, settings)
        options = {"settings": settings, "createRegisteredVolume": createRegisteredVolume}
        return runPairs(pairs, lambda *pair: self.start(*pair, **options), progress, cancelled)

    def looking(self) -> Looking:
        """What compares two volumes in Slicer's slice views as the panel does; see `Looking`."""
        return Looking(slicer.mrmlScene, slicer.app.applicationLogic())

    @property
    def client(self) -> EngineClient:
        """The client of the worker process."""
        if self._client is None:
            self._client = EngineClient(log=logging.debug)
        return self._client

    @property
    def workerLog(self) -> str:
        """The last lines that the worker process logged, also after its end; empty if none was started."""
        return self._client.log_text if self._client is not None else ""

    def models(self) -> list:
        """The cards of the model types that there are."""
        return list_models()

    def diagnose(self, offline: bool = False) -> str:
        """What keeps registrations from running here, and what to type: the text of `deepregister doctor`.

        Computed in a process of its own, in which a broken installation may crash; waits for it, some seconds.

        Args:
            offline: also show how to install everything from a folder, without a network.

        Raises:
            WorkerError: no Python can be started.
        """
        return diagnose(offline)

    def startDiagnosis(self, offline: bool = False) -> Diagnosis:
        """Start what `diagnose` does and return at once; ask `done`, then take its `text`.

        Raises:
            WorkerError: no Python can be started.
        """
        return Diagnosis(offline)

    def close(self) -> None:
        """End the worker process, if there is one; a run that computes is cancelled. A later run starts another."""
        if self._client is not None:
            self._client.shutdown()
