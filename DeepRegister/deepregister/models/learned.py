"""Learned models: one pass of a network over the pair gives the field; instance optimisation can then refine it.

The network sees both images on one grid of its own: the box of what the fixed volume shows, at the spacing that the
network was trained at, with the axes in canonical order and sense. So neither the storage order of the voxels nor
their size or place changes the field in mm by more than the interpolation does.

A card can ask for several passes: the network looks again at what its last field leaves, also at finer spacings, as the
recurrent networks that cascade themselves do (Zhao et al., ICCV 2019).
"""

from __future__ import annotations

import contextlib

import numpy as np
import torch

from ..networks import Motion
from ..preparation import Pair, Prepared, block_mean
from ..progress import Monitor
from ..settings import Settings
from ..spatial import (
    compose,
    field_from_mm,
    field_to_mm,
    index_map,
    lengths,
    regrid_field,
    resample,
    unfolded,
    upsampled_field,
)
from ..transforms import Affine, Composite, DisplacementField, LinearTransform, Transform
from ..volume import Geometry, Volume
from .instance import InstanceOptimisation, faded, split_start
from .registry import Card
from .weights import load_network

# A field that is the result is saved with twice its resolution, up to so many voxels.
MOST_VOXELS = 1_000_000
# Computing in bfloat16 is worth at most this, mm.
MOST_ROUNDING_MM = 0.05
# A pass on a grid finer than this share of the fixed volume's own finest spacing has nothing more to see.
FINER = 0.75


class LearnedModel:
    """A network with the weights of one card.

    Args:
        card: of a learned model.

    Raises:
        ModelError: the weights are missing, damaged or not this network's.
    """

    def __init__(self, card: Card):
        self.card = card
        # Here, and not in the middle of a run, wrong weights are refused.
        self._network = load_network(card, torch.device("cpu"))

    @property
    def stride(self) -> int:
        """Voxels of `grid` along a side of a voxel of the network's field."""
        return self._network.stride

    def run(
        self, pair: Pair, start: Transform | None, settings: Settings, device: torch.device, monitor: Monitor
    ) -> Composite:
        """The transform x -> A(x + u(x)), fixed to moving, A being the linear part of `start`.

        Args:
            pair: prepared volumes.
            start: linear, dense, or a composite of both; None starts from the identity.
            settings: `refine` says whether the network has the last word; `field_spacing_mm` makes it look less finely.
            device: where to compute.
            monitor: progress and cancellation.
        """
        predicted = self.predict(pair, start, settings, device, monitor)
        return self.refined(pair, predicted, settings, device, monitor)

    def predict(
        self, pair: Pair, start: Transform | None, settings: Settings, device: torch.device, monitor: Monitor
    ) -> Composite:
        """What the network alone says; arguments and result as in `run`."""
        with torch.inference_mode():
            linear, residual = split_start(start)
            spacings = self.passes(pair.fixed, settings)
            field, geometry = None, None
            if residual is not None:
                # A start may hold more detail than the network's field.
                geometry = self._grid(pair.fixed, min(spacings))
                field = field_from_mm(residual.sampled_on(geometry).displacement, geometry, device)
            work = np.cumsum([0.0] + [spacing**-3 for spacing in spacings])
            for number, spacing in enumerate(spacings):
                message = f"{self.card.title}: pass {number + 1} of {len(spacings)} of the network"
                monitor.report("deform", 0.9 * float(work[number] / work[-1]), message)
                field, geometry = self._pass(pair, linear, field, geometry, spacing, device, monitor)
            monitor.report("deform", 0.9, "Checking the field")
            field, wide = faded(field, geometry)
            fine = min(wide.spacing) <= min(spacings) or 8 * field[0, 0].numel() > MOST_VOXELS
            if not (fine or self._refines(pair, settings)):
                # Where nothing follows, an inverse could not follow the kinks between coarse voxels.
                field, wide = upsampled_field(field, 2), wide.with_spacing(np.asarray(wide.spacing) / 2)
            field = unfolded(field)
            dense = DisplacementField(field_to_mm(field, wide), wide)
        return Composite((dense, Affine(linear.matrix)))

    def refined(
        self, pair: Pair, predicted: Composite, settings: Settings, device: torch.device, monitor: Monitor
    ) -> Composite:
        """`predicted` after instance optimisation on the levels that are as fine as it; unchanged where none is due."""
        if not self._refines(pair, settings):
            return predicted
        monitor.report("refine", 0.0, "Refining")
        spacing = self.stride * min(self.passes(pair.fixed, settings))
        return InstanceOptimisation().run(pair, predicted, settings, device, monitor, coarsest_mm=spacing)

    def rounding_mm(self, pair: Pair, start: Transform | None, device: torch.device) -> float:
        """How far computing in bfloat16 moves the field at most, mm: what a card has in `bfloat16_mm`."""
        with torch.inference_mode():
            linear, residual = split_start(start)
            grid = self._grid(pair.fixed, self.card.spacing_mm)
            before = None
            if residual is not None:
                before = field_from_mm(residual.sampled_on(grid).displacement, grid, device)
            exact, rounded = (self._motion(pair, linear, before, grid, device, each) for each in (False, True))
            moved = lengths(rounded.fixed_to_moving.float() - exact.fixed_to_moving.float())
        return float(moved.max()) * exact.stride * grid.spacing[0]

    def passes(self, fixed: Prepared, settings: Settings) -> tuple[float, ...]:
        """Spacings in mm of the grids that the network looks on one after the other.

        Those of the card, but for finer ones than the settings ask for or than the fixed volume has.
        """
        first, *further = self.card.passes_mm or (self.card.spacing_mm,)
        wanted = (settings.field_spacing_mm or 0.0) / self.stride
        least = max(wanted, FINER * float(min(fixed.content.spacing)))
        return (max(first, wanted), *(spacing for spacing in further if spacing >= least))

    def grid(self, fixed: Prepared, settings: Settings) -> Geometry:
        """The finest grid that the network looks on."""
        return self._grid(fixed, min(self.passes(fixed, settings)))

    def _grid(self, fixed: Prepared, spacing: float) -> Geometry:
        """What the network sees of a fixed volume: its content, on canonical axes, in whole multiples of voxels."""
        content = fixed.content.canonical()
        # Where the volume has this spacing already, its own voxels are met, and nothing is interpolated.
        size = np.ceil(content.extent_mm / spacing - 1e-3).astype(int)
        axes = np.asarray(content.direction)
        origin = content.centre - axes @ (spacing * (size - 1) / 2)
        box = Geometry(tuple(map(int, size)), (spacing,) * 3, tuple(origin), content.direction)
        missing = -size % self._network.multiple
        return box.cropped(-(missing // 2), size + missing - missing // 2)

    def _refines(self, pair: Pair, settings: Settings) -> bool:
        return settings.refines(self.card.refine, pair.steered)

    def _pass(
        self,
        pair: Pair,
        linear: LinearTransform,
        before: torch.Tensor | None,
        geometry: Geometry | None,
        spacing: float,
        device: torch.device,
        monitor: Monitor,
    ) -> tuple[torch.Tensor, Geometry]:
        """The field after one more look at the images under the field `before` on `geometry`, and its grid."""
        grid = self._grid(pair.fixed, spacing)
        seen = None if before is None else regrid_field(before, geometry, grid)
        motion = self._motion(pair, linear, seen, grid, device, self._rounds(device))
        if motion.log_variance is not None:
            spread = float(torch.exp(0.5 * motion.log_variance.float()).mean())
            monitor.note("predicted_sd_mm", spread * motion.stride * grid.spacing[0])
        field, lies = motion.fixed_to_moving.float(), coarse(grid, motion.stride)
        if before is None:
            return field, lies
        if min(geometry.spacing) < min(lies.spacing):
            field, lies = regrid_field(field, lies, geometry), geometry
        else:
            before = regrid_field(before, geometry, lies)
        return compose(field, before), lies

    def _motion(
        self,
        pair: Pair,
        linear: LinearTransform,
        before: torch.Tensor | None,
        grid: Geometry,
        device: torch.device,
        rounds: bool,
    ) -> Motion:
        """What the network finds between the images on its grid, the moving one under the field `before` there."""
        fixed = _seen(pair.fixed, grid, LinearTransform.identity(), None, device)
        moving = _seen(pair.moving, grid, linear, before, device)
        with torch.autocast(device.type, torch.bfloat16) if rounds else contextlib.nullcontext():
            return load_network(self.card, device)(fixed, moving)

    def _rounds(self, device: torch.device) -> bool:
        """Whether to compute in bfloat16: where the device does so natively and the field was measured to bear it."""
        bears = self.card.bfloat16_mm is not None and self.card.bfloat16_mm < MOST_ROUNDING_MM
        return bears and device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def coarse(grid: Geometry, stride: int) -> Geometry:
    """The grid of a network's field: one voxel in the middle of `stride`^3 of those that the network saw."""
    return grid.with_spacing(np.asarray(grid.spacing) * stride)


def _seen(
    side: Prepared, grid: Geometry, linear: LinearTransform, field: torch.Tensor | None, device: torch.device
) -> torch.Tensor:
    """A volume on the network's grid, (1, 1, D, H, W), moved by `field` in voxels of the grid and then by `linear`."""
    volume = _reduced(side, grid.spacing[0])
    image = torch.as_tensor(np.ascontiguousarray(volume.data), dtype=torch.float32, device=device)[None, None]
    to_index = index_map(grid, volume.geometry, linear.matrix)
    return resample(image, to_index, grid.shape, "zeros", field)


def _reduced(side: Prepared, spacing_mm: float) -> Volume:
    """As `Prepared.reduced`, but the blocks start where the content does, on canonical axes.

    So they hold the same voxels however these are stored and however much background lies around.
    """
    factors = [max(1, int(spacing_mm / s + 1e-3)) for s in side.geometry.canonical().spacing]
    if max(factors) == 1:
        return side.image
    volume = side.image.canonical()
    start = np.round(volume.geometry.point_to_index(side.content.canonical().origin)).astype(int) % factors
    data = volume.data[tuple(slice(first, None) for first in start[::-1])]
    return block_mean(Volume(data, volume.geometry.cropped(start, volume.geometry.size)), factors)
