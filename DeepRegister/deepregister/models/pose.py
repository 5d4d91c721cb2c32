"""Linear transforms as twelve numbers in mm, and what speaks against them beside the images. float64, on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from ..landmarks import LandmarkPairs

# One landmark pair at one sigma weighs as much as this gain of mutual information.
LANDMARK_WEIGHT = 0.02


class Poses:
    """Parameters (turn, shift, scale, shear), each of three in mm, of x -> R S (x - c) + c + t.

    Args:
        centre: c, LPS mm.
        radius: mm; turns, scales and shears move a point at this distance from the centre by so many mm.
        landmarks: pairs that the transform should respect, or None.
        sigma_mm: how exactly they were placed.
        stiffness: what stretching by e, or shearing by as much, costs in units of mutual information.
    """

    def __init__(
        self,
        centre: np.ndarray,
        radius: float,
        landmarks: LandmarkPairs | None = None,
        sigma_mm: float = 1.0,
        stiffness: float = 0.0,
    ):
        self.centre = centre
        self.radius = radius
        self.sigma = sigma_mm
        self.stiffness = stiffness
        self.landmarks = None
        if landmarks is not None:
            self.landmarks = [torch.as_tensor(np.array(p, float)) for p in (landmarks.fixed, landmarks.moving)]

    def matrices(self, parameters: torch.Tensor) -> torch.Tensor:
        """(B, 4, 4) matrices of parameters (B, 12)."""
        turn, shift = parameters[:, 0:3] / self.radius, parameters[:, 3:6]
        scale, shear = torch.exp(parameters[:, 6:9] / self.radius), parameters[:, 9:12] / self.radius
        stretch = torch.diag_embed(scale) + _upper(shear)
        linear = _rotations(turn) @ stretch
        centre = torch.as_tensor(self.centre, dtype=parameters.dtype)
        right = (centre + shift - linear @ centre).unsqueeze(-1)
        last = torch.tensor([0, 0, 0, 1], dtype=parameters.dtype)
        return torch.cat([torch.cat([linear, right], 2), last.expand(len(parameters), 1, 4)], 1)

    def parameters_of(self, matrix: np.ndarray) -> torch.Tensor:
        """The (12,) parameters of a (4, 4) matrix."""
        orthogonal, upper = np.linalg.qr(matrix[:3, :3])
        signs = np.sign(np.diag(upper))
        orthogonal, upper = orthogonal * signs, signs[:, None] * upper
        turn = Rotation.from_matrix(orthogonal).as_rotvec()
        shift = matrix[:3, :3] @ self.centre + matrix[:3, 3] - self.centre
        shear = upper[[0, 0, 1], [1, 2, 2]]
        values = np.concatenate([turn * self.radius, shift, np.log(np.diag(upper)) * self.radius, shear * self.radius])
        return torch.as_tensor(values)

    def penalty(self, parameters: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
        """(B,) what speaks against parameters (B, 12) beside the images, in units of mutual information.

        That is stretching and shearing, and landmarks that miss their partners.
        """
        stretch = self.stiffness * ((parameters[:, 6:] / self.radius) ** 2).sum(1)
        if self.landmarks is None:
            return stretch
        fixed, moving = self.landmarks
        moved = torch.einsum("brc,nc->bnr", matrices[:, :3, :3], fixed) + matrices[:, None, :3, 3]
        return stretch + LANDMARK_WEIGHT * (((moved - moving) / self.sigma) ** 2).sum(-1).mean(1)


def _rotations(turn: torch.Tensor) -> torch.Tensor:
    """(B, 3, 3) of rotation vectors (B, 3), by way of quaternions: smooth at no turn at all, too."""
    half = (turn**2).sum(1, keepdim=True).add(1e-16).sqrt() / 2
    x, y, z = (turn * torch.sin(half) / (2 * half)).unbind(1)
    w = torch.cos(half)[:, 0]
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, 1).view(-1, 3, 3)


def _upper(shear: torch.Tensor) -> torch.Tensor:
    a, b, c = shear.unbind(1)
    none = torch.zeros_like(a)
    return torch.stack([none, a, b, none, none, c, none, none, none], 1).view(-1, 3, 3)
