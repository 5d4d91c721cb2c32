"""A pair at one resolution as the linear models see it: points of the fixed image, looked up in the moving one."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from ..preparation import Pair, Prepared
from ..progress import Monitor
from ..similarity.mutual_information import BinnedSamples, normalised_information
from ..spatial import smooth
from .ascent import Objective
from .pose import Poses

# How much of the smaller content must be seen by both sides for a pose to count in full.
WANTED_OVERLAP = 0.6
# Of the smaller content box on each side: the edge of an object says where it is.
MARGIN = 0.1
# Values that are worked on at a time: more of them no longer fit a CPU's caches.
CHUNK = 2**16
PADDING = 2
SEARCH_BINS, SEARCH_SAMPLES = 12, 1200


class Sampled:
    """Points of the fixed image, and the moving image around them.

    Args:
        pair: prepared volumes.
        spacing_mm: both are averaged to at most this.
        count: points.
        seed: of where they lie.
        device: where to compute.
        blur: standard deviation of a Gaussian blur of both, in `spacing_mm`.
    """

    def __init__(self, pair: Pair, spacing_mm: float, count: int, seed: int, device: torch.device, blur: float = 0.0):
        fixed, moving = (_smoothed(side.reduced(spacing_mm), blur * spacing_mm) for side in (pair.fixed, pair.moving))
        points, values = _fixed_samples(fixed, count, seed)
        self.points = torch.as_tensor(points.T.copy(), dtype=torch.float32, device=device)
        self.values = torch.as_tensor(values, dtype=torch.float32, device=device)
        self.binned = BinnedSamples(self.values)
        self.to_index = torch.as_tensor(np.linalg.inv(moving.geometry.matrix))
        image = torch.as_tensor(moving.image.data, dtype=torch.float32, device=device)[None, None]
        self.known_outside = moving.contained and moving.weight is None
        pad = (PADDING,) * 6
        self.shape = [n + 2 * PADDING for n in image.shape[2:]]
        # Beyond the border lies background where the object ends inside, and nothing known elsewhere.
        beyond = {} if self.known_outside else {"mode": "replicate"}
        self.image = F.pad(image, pad, **beyond).flatten()
        self.weight = None
        if not self.known_outside:
            weight = torch.ones_like(image)
            if moving.weight is not None:
                weight = torch.as_tensor(moving.weight.data, dtype=torch.float32, device=device)[None, None]
            # Fading to nothing within a voxel of the border, so that the overlap changes smoothly.
            self.weight = F.pad(weight, pad).flatten()
        share = float(np.prod(pair.moving.content.extent_mm) / np.prod(pair.fixed.content.extent_mm))
        self.wanted = WANTED_OVERLAP * min(1.0, share)

    def thinned(self, step: int) -> Sampled:
        """The same with every `step`-th point."""
        result = copy(self)
        result.points, result.values = self.points[:, ::step].contiguous(), self.values[::step].contiguous()
        result.binned = BinnedSamples(result.values)
        return result

    def score(self, poses: Poses, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) how good parameters (B, 12) are, and its gradient (B, 12).

        Normalised mutual information over the overlap, less where that is small, less what else speaks against a pose.
        """
        parameters = parameters.detach().requires_grad_(True)
        with torch.enable_grad():
            matrices = poses.matrices(parameters)
            penalty = poses.penalty(parameters, matrices)
            through = (self.to_index @ matrices)[:, :3]
        # Only these few numbers go to the device and come back.
        on_device = through.detach().float().to(self.points.device)
        at_once = max(1, CHUNK // self.points.shape[1])
        parts = [self._information(matrices) for matrices in on_device.split(at_once)]
        score, by_matrix = (torch.cat(part).to(parameters) for part in zip(*parts, strict=True))
        with torch.enable_grad():
            total = (through * by_matrix).sum() - penalty.sum()
        (gradient,) = torch.autograd.grad(total, parameters)
        return score - penalty.detach(), gradient

    @torch.no_grad()
    def _information(self, matrices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Score (B,) of matrices (B, 3, 4) from LPS mm to voxels, and its derivative by them."""
        index = torch.baddbmm(matrices[:, :, 3:], matrices[:, :, :3], self.points.expand(len(matrices), -1, -1))
        cell, fractions, inside = self._cells(index)
        values, slopes = self._look_up(self.image, cell, fractions)
        weight = None
        if self.weight is not None:
            weight, weight_slopes = self._look_up(self.weight, cell, fractions)
        score, by_value, by_weight = self.binned.compare(values, weight)
        force = [by_value * slope for slope in slopes]
        if weight is not None:
            share = weight.mean(1) / self.wanted
            full = share.clamp(max=1)
            by_weight = full[:, None] * by_weight + ((share < 1) * score / self.wanted / weight.shape[1])[:, None]
            force = [full[:, None] * f + by_weight * slope for f, slope in zip(force, weight_slopes, strict=True)]
            score = score * full
        force = torch.stack(force, 1) * inside
        return score, torch.cat([force @ self.points.T, force.sum(2, keepdim=True)], 2)

    @torch.no_grad()
    def rough_score(self, poses: Poses, parameters: torch.Tensor) -> torch.Tensor:
        """As `score`, but with nearest neighbours, hard bins and few samples: thousands of poses in a second."""
        step = max(1, self.points.shape[1] // SEARCH_SAMPLES)
        points, own = self.points[:, ::step], self.values[::step]
        matrices = poses.matrices(parameters)
        through = (self.to_index @ matrices)[:, :3].float().to(points.device)
        index = torch.baddbmm(through[:, :, 3:], through[:, :, :3], points.expand(len(through), -1, -1))
        # Half a voxel on: the cell then begins at the nearest voxel.
        cell = self._cells(index + 0.5)[0]
        values = self.image.index_select(0, cell.view(-1)).view_as(cell)
        weight = None if self.weight is None else self.weight.index_select(0, cell.view(-1)).view_as(cell)
        rows, columns = ((v * (SEARCH_BINS - 1) + 0.5).int() for v in (own, values))
        batch = len(parameters)
        bins = (torch.arange(batch, device=cell.device)[:, None] * SEARCH_BINS + rows) * SEARCH_BINS + columns
        weights = None if weight is None else weight.flatten()
        joint = torch.bincount(bins.flatten(), weights=weights, minlength=batch * SEARCH_BINS**2)
        score = normalised_information(joint.view(batch, SEARCH_BINS, SEARCH_BINS).float())
        if weight is not None:
            score = score * (weight.mean(1) / self.wanted).clamp(max=1)
        return score.to(parameters) - poses.penalty(parameters, matrices)

    def _cells(self, index: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
        """Of indices (B, 3, N) along i, j, k: the lowest voxel of their cell, places in it, whether they are inside."""
        depth, height, width = self.shape
        top = torch.tensor([[width], [height], [depth]], dtype=torch.float32, device=index.device) - 1.001
        index = index + PADDING
        held = torch.minimum(index.clamp(min=0), top)
        low = held.floor()
        i, j, k = low.int().unbind(1)
        return (k * height + j) * width + i, list((held - low).unbind(1)), held == index

    def _look_up(
        self, image: torch.Tensor, cell: torch.Tensor, fractions: list[torch.Tensor]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Trilinear values (B, N) and their slopes along i, j, k."""
        # By hand: torch's grid_sample with its gradient takes ten times as long on a CPU.
        _, height, width = self.shape
        x, y, z = fractions
        flat = cell.view(-1)
        steps = [k * height * width + j * width + i for k in (0, 1) for j in (0, 1) for i in (0, 1)]
        corner = [image.index_select(0, flat + step).view_as(cell) for step in steps]
        along_i = [corner[n + 1] - corner[n] for n in (0, 2, 4, 6)]
        rows = [torch.addcmul(corner[2 * n], x, along_i[n]) for n in range(4)]
        along_j = [rows[1] - rows[0], rows[3] - rows[2]]
        planes = [torch.addcmul(rows[2 * n], y, along_j[n]) for n in range(2)]
        slope_k = planes[1] - planes[0]
        slope_i = torch.lerp(torch.lerp(along_i[0], along_i[1], y), torch.lerp(along_i[2], along_i[3], y), z)
        return torch.addcmul(planes[0], z, slope_k), [slope_i, torch.lerp(along_j[0], along_j[1], z), slope_k]


def objective(stage: Sampled, poses: Poses, monitor: Monitor) -> Objective:
    """The score of `stage` to be climbed, which hears when the caller cancels."""

    def look(parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        monitor.check()
        return stage.score(poses, parameters)

    return look


def _smoothed(side: Prepared, sigma_mm: float) -> Prepared:
    if sigma_mm == 0:
        return side
    image = torch.as_tensor(side.image.data, dtype=torch.float32)[None, None]
    blurred = smooth(image, [sigma_mm / s for s in side.geometry.spacing])[0, 0].numpy()
    return replace(side, image=replace(side.image, data=blurred))


def _fixed_samples(fixed: Prepared, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) in LPS mm and values (n,) of voxels of the box around the content, where the mask allows.

    They are spread evenly, by a Kronecker sequence (Roberts, "The unreasonable effectiveness of quasirandom
    sequences", 2018), whose start the seed moves.
    """
    size = np.asarray(fixed.geometry.size)
    margin = MARGIN * fixed.content.extent_mm
    corners = np.array([fixed.content.index_to_point(c) for c in ([0, 0, 0], np.asarray(fixed.content.size) - 1)])
    low, high = np.sort(fixed.geometry.point_to_index(corners), axis=0)
    steps = margin / np.asarray(fixed.geometry.spacing)
    low, high = np.maximum(low - steps, -0.5), np.minimum(high + steps, size - 0.5)
    start = np.random.default_rng(seed).random(3)
    share = 1.0
    if fixed.weight is not None:
        share = max(0.02, float((fixed.weight.data > 0.5).mean()))
    # The root of x^4 = x + 1 makes the three fractions as unlike any ratio as three can be.
    fractions = 1.2207440846057596 ** -np.arange(1.0, 4.0)
    places = (start + np.outer(np.arange(int(count / share)), fractions)) % 1
    index = np.clip(np.rint(low + places * (high - low)), 0, size - 1).astype(int)
    i, j, k = index.T
    if fixed.weight is not None:
        allowed = fixed.weight.data[k, j, i] > 0.5
        if allowed.any():
            i, j, k = i[allowed], j[allowed], k[allowed]
        else:
            k, j, i = np.nonzero(fixed.weight.data > 0.5)
    # In the order of memory, so that neighbours are looked up one after the other.
    i, j, k = (along[np.lexsort((i[:count], j[:count], k[:count]))] for along in (i, j, k))
    return fixed.geometry.index_to_point(np.stack([i, j, k], -1)), fixed.image.data[k, j, i]
