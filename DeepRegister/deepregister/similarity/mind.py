"""MIND-SSC: a descriptor of local self-similarity that is the same across contrasts and modalities.

Heinrich et al., "Towards realtime multimodal fusion for image-guided interventions using self-similarities",
MICCAI 2013.
"""

from __future__ import annotations

import itertools

import torch

from ..spatial import smooth

_FACES = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
# The twelve pairs of face neighbours that touch (at distance sqrt 2).
PAIRS = [
    (a, b) for a, b in itertools.combinations(_FACES, 2) if sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) == 2
]


def mind_ssc(image: torch.Tensor, sigma: float = 0.8, dilation: int = 1) -> torch.Tensor:
    """The twelve-channel descriptor.

    Args:
        image: (1, 1, D, H, W).
        sigma: of the Gaussian patch, voxels.
        dilation: distance of the compared neighbours, voxels.

    Returns:
        (1, 12, D, H, W), values 0 to 1: near 1 where the two neighbours' patches look alike.
    """
    padded = torch.nn.functional.pad(image, [dilation] * 6, mode="replicate")
    size = image.shape[2:]

    def shifted(offset: tuple[int, int, int]) -> torch.Tensor:
        moved = padded
        for dim, step in zip((2, 3, 4), offset, strict=True):
            moved = moved.narrow(dim, dilation * (1 + step), size[dim - 2])
        return moved

    differences = torch.cat([(shifted(a) - shifted(b)) ** 2 for a, b in PAIRS], 1)
    distance = smooth(differences, sigma)
    distance = distance - distance.amin(1, keepdim=True)
    variance = distance.mean(1, keepdim=True)
    typical = variance.mean()
    # Bounds as in the paper's code: flat regions must not turn noise into structure, edges must not swamp the rest.
    variance = variance.clamp(min=float(typical) * 1e-3 + 1e-12, max=float(typical) * 1e3 + 1e-12)
    return torch.exp(-distance / variance)
