"""The tensor side of transforms: warp, compose, exponentiate, invert, Jacobian; and every change of coordinates.

Tensors are images (B, C, D, H, W) and fields (B, 3, D, H, W); B is 1 where a function says so. A field holds
displacements along the i, j, k axes of its own grid, in voxels of that grid; it never leaves the engine in this form
(`field_to_mm`, `field_from_mm`). W, H, D run along i, j, k. Gradients flow through warping, composing, exponentiating
and the Jacobian. This is the one place that turns voxels into millimetres or normalised coordinates.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from .volume import Geometry

# Voxels that a CPU works on at a time: what it makes on the way then stays in its caches and in memory it already has.
SLAB_VOXELS = 2**19
# Rounds of the inversion that all voxels need; whole grids are warped faster than lists of points.
WHOLE_GRID_ROUNDS = 4
# Voxels of a line that a filter makes at a time: few enough that its matrix is mostly band, enough for a fast product.
FILTER_BLOCK = 32


def slabs(image: torch.Tensor, dim: int = 2) -> Iterator[tuple[int, int]]:
    """Ranges along `dim` that a CPU takes one after the other; a GPU takes the whole."""
    length = image.shape[dim]
    step = length if image.device.type != "cpu" else max(1, SLAB_VOXELS * length // max(image[0, 0].numel(), 1))
    for start in range(0, length, step):
        yield start, min(start + step, length)


def field_to_mm(field: torch.Tensor, geometry: Geometry) -> np.ndarray:
    """Displacements (k, j, i, 3) in LPS mm from a field (1, 3, D, H, W) in voxels of `geometry`."""
    to_mm = torch.as_tensor(geometry.matrix[:3, :3], dtype=field.dtype, device=field.device)
    return torch.einsum("rc,cdhw->dhwr", to_mm, field[0]).cpu().numpy()


def field_from_mm(displacement: np.ndarray, geometry: Geometry, device: torch.device | str = "cpu") -> torch.Tensor:
    """A field (1, 3, D, H, W) in voxels of `geometry` from displacements (k, j, i, 3) in LPS mm."""
    to_voxels = torch.as_tensor(np.linalg.inv(geometry.matrix[:3, :3]), dtype=torch.float32, device=device)
    values = torch.as_tensor(np.ascontiguousarray(displacement), dtype=torch.float32, device=device)
    return torch.einsum("rc,dhwc->rdhw", to_voxels, values)[None].contiguous()


def index_map(source: Geometry, target: Geometry, fixed_to_moving: np.ndarray | None = None) -> np.ndarray:
    """(4, 4) matrix from voxel indices of `source` to those of `target`, through a linear map of LPS mm if given."""
    through = np.eye(4) if fixed_to_moving is None else fixed_to_moving
    return np.linalg.inv(target.matrix) @ through @ source.matrix


def identity_axes(shape: Sequence[int], device: torch.device) -> list[torch.Tensor]:
    """Voxel indices along i, j, k, shaped to broadcast over (D, H, W)."""
    depth, height, width = shape
    return [
        torch.arange(width, dtype=torch.float32, device=device).view(1, 1, width),
        torch.arange(height, dtype=torch.float32, device=device).view(1, height, 1),
        torch.arange(depth, dtype=torch.float32, device=device).view(depth, 1, 1),
    ]


def normalised(index: torch.Tensor, size: int) -> torch.Tensor:
    """Voxel indices along an axis of `size` voxels in the coordinates of `grid_sample` (align_corners=True)."""
    # An axis of one voxel has no extent: every index reads its only plane.
    return index * (2.0 / (size - 1)) - 1.0 if size > 1 else torch.zeros_like(index)


def sample(image: torch.Tensor, grid: torch.Tensor, padding: str = "border", mode: str = "bilinear") -> torch.Tensor:
    """`image` (B, C, D, H, W) at normalised coordinates (B, d, h, w, 3), trilinear: (B, C, d, h, w)."""
    parts = min(torch.get_num_threads(), grid.shape[1])
    learning = torch.is_grad_enabled() and (image.requires_grad or grid.requires_grad)
    if image.device.type != "cpu" or len(image) > 1 or parts < 2 or learning:
        return F.grid_sample(image, grid, mode=mode, padding_mode=padding, align_corners=True)
    # On a CPU torch shares out the images of a batch among its threads, not the voxels of one: so each thread gets the
    # image and a part of the grid.
    each = grid.shape[1] // parts
    shared, rest = grid[:, : parts * each], grid[:, parts * each :]
    found = F.grid_sample(
        image.expand(parts, *image.shape[1:]),
        shared.view(parts, each, *grid.shape[2:]),
        mode=mode,
        padding_mode=padding,
        align_corners=True,
    )
    found = found.transpose(0, 1).reshape(1, image.shape[1], parts * each, *grid.shape[2:4])
    if not rest.shape[1]:
        return found
    return torch.cat([found, F.grid_sample(image, rest, mode=mode, padding_mode=padding, align_corners=True)], 2)


def single(tensor: torch.Tensor) -> torch.Tensor:
    """In single precision where it has less: half precision cannot tell one voxel of 300 from the next."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def warp(image: torch.Tensor, field: torch.Tensor, padding: str = "border") -> torch.Tensor:
    """The image at x + u(x): `image` (B, C, D, H, W) on the field's own grid; never in half precision."""
    return resample(image, np.eye(4), field.shape[2:], padding, field)


def resample(
    image: torch.Tensor,
    matrix: np.ndarray,
    shape: Sequence[int],
    padding: str = "border",
    field: torch.Tensor | None = None,
) -> torch.Tensor:
    """`image` (B, C, ...) on a grid of `shape` whose voxel x reads it at `matrix` @ (x + u(x)), u optional."""
    image, field = single(image), None if field is None else single(field)
    axes = identity_axes(shape, image.device)
    parts = []
    for start, stop in slabs(image.new_empty(()).expand(1, 1, *shape)):
        moved = [axes[0], axes[1], axes[2][start:stop]]
        if field is not None:
            moved = [axis + part for axis, part in zip(moved, field[:, :, start:stop].unbind(1), strict=True)]
        index = [
            sum((float(matrix[row, n]) * moved[n] for n in range(3) if matrix[row, n] != 0), float(matrix[row, 3]))
            for row in range(3)
        ]
        size = image.shape[:1:-1]
        part = (len(image), stop - start, *shape[1:])
        grid = torch.stack([normalised(index[row], size[row]).expand(part) for row in range(3)], -1)
        parts.append(sample(image, grid, padding))
    return torch.cat(parts, 2) if len(parts) > 1 else parts[0]


def regrid_field(field: torch.Tensor, source: Geometry, target: Geometry) -> torch.Tensor:
    """The same displacements on another grid of the same axes' directions, in voxels of that grid; border held."""
    moved = resample(field, index_map(target, source), target.shape)
    ratio = [a / b for a, b in zip(source.spacing, target.spacing, strict=True)]
    return moved * torch.tensor(ratio, dtype=field.dtype, device=field.device).view(1, 3, 1, 1, 1)


def compose(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The field of x -> x + first(x), followed by y -> y + second(y)."""
    return first + warp(second, first)


def compose_step(step: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
    """`compose(step, field)` for steps of less than a voxel along each axis, in a fifth of the time.

    Read from the neighbours along each axis, without their mixed differences: of a smooth field and half a voxel these
    are less than a thousandth of a voxel.
    """
    composed = step + field
    for axis, dim in enumerate((4, 3, 2)):
        along, last = step[:, axis : axis + 1], field.shape[dim] - 1
        if last:
            change = field.diff(dim=dim)
            composed.narrow(dim, 0, last).addcmul_(along.narrow(dim, 0, last).clamp(min=0), change)
            composed.narrow(dim, 1, last).addcmul_(along.narrow(dim, 1, last).clamp(max=0), change)
    return composed


def exponentiate(velocity: torch.Tensor, steps: int = 7) -> torch.Tensor:
    """The displacement of a stationary velocity field, by scaling and squaring (Arsigny et al., MICCAI 2006)."""
    field = single(velocity) / 2**steps
    for _ in range(steps):
        field = compose(field, field)
    return field


def upsampled_field(field: torch.Tensor, factor: int) -> torch.Tensor:
    """The same displacements on a grid of `factor` times as many voxels along each axis, in voxels of that grid.

    A coarse voxel covers factor^3 fine ones, and its value belongs to their middle; beyond the outermost it is held.
    Repeated doubling rounds off the kinks of linear interpolation: it tends to quadratic splines (Chaikin 1974).
    """
    while factor > 1:
        step = 2 if factor % 2 == 0 else factor
        field = step * F.interpolate(single(field), scale_factor=step, mode="trilinear", align_corners=False)
        factor //= step
    return field


def block_field(field: torch.Tensor, factor: int) -> torch.Tensor:
    """The same displacements on a grid of blocks of `factor`^3 voxels, in voxels of that grid: the mean over each."""
    return field if factor == 1 else F.avg_pool3d(single(field), factor) / factor


def invert(field: torch.Tensor, iterations: int = 200, tolerance: float = 5e-3) -> torch.Tensor:
    """The inverse on the same grid by fixed point, v <- -u(y + v(y)) (Chen et al., Med. Phys. 2008); voxels.

    A voxel is done when there and back misses it by less than `tolerance` voxels.
    """
    inverse = -field
    for _ in range(WHOLE_GRID_ROUNDS):
        inverse = -warp(field, inverse)
    shape, size = field.shape[2:], field.shape[:1:-1]
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32, device=field.device) for n in shape), indexing="ij")
    points = torch.stack(axes[::-1]).flatten(1)
    inverse = inverse.flatten(2)[0].contiguous()
    active = torch.arange(points.shape[1], device=field.device)
    step = torch.ones(points.shape[1], device=field.device)
    last = torch.zeros_like(points)
    for _ in range(iterations):
        moved = points[:, active] + inverse[:, active]
        grid = torch.stack([normalised(moved[axis], size[axis]) for axis in range(3)], -1)
        error = inverse[:, active] + sample(field, grid[None, :, None, None])[0, :, :, 0, 0]
        before = last[:, active]
        # The plain iteration swings to and fro where the field more than doubles lengths: there, halve the step.
        overshot = _dot(error, before) < -0.5 * _dot(before, before)
        step[active] = torch.where(overshot, step[active] / 2, (1.2 * step[active]).clamp(max=1))
        last[:, active] = error
        inverse[:, active] -= step[active] * error
        # Most voxels are done after a few rounds; only the others go on.
        active = active[_dot(error, error) > tolerance**2]
        if not len(active):
            break
    return inverse.view(1, 3, *shape)


def _dot(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> torch.Tensor:
    """Scalar products of vectors whose three components are given one after the other."""
    # Torch's sums and norms over so short a dimension take twenty times as long on a CPU.
    return (a[0] * b[0]).addcmul_(a[1], b[1]).addcmul_(a[2], b[2])


def lengths(field: torch.Tensor) -> torch.Tensor:
    """Length of each vector, (1, 1, D, H, W), of a field (1, 3, D, H, W)."""
    # torch's norm over so short a dimension takes twenty times as long on a CPU.
    i, j, k = field.split(1, 1)
    return (i * i).addcmul_(j, j).addcmul_(k, k).sqrt_()


def gradient(image: torch.Tensor) -> torch.Tensor:
    """Central differences per voxel, (1, 3, D, H, W) along i, j, k, of a one-channel image; one-sided at the border."""
    parts = []
    for dim in (4, 3, 2):
        size = image.shape[dim]
        if size < 2:
            parts.append(torch.zeros_like(image))
            continue
        before = torch.cat([image.narrow(dim, 0, 1), image.narrow(dim, 0, size - 1)], dim)
        after = torch.cat([image.narrow(dim, 1, size - 1), image.narrow(dim, size - 1, 1)], dim)
        difference = (after - before).mul_(0.5)
        difference.narrow(dim, 0, 1).mul_(2)
        difference.narrow(dim, size - 1, 1).mul_(2)
        parts.append(difference)
    return torch.cat(parts, 1)


def jacobian_determinant(field: torch.Tensor) -> torch.Tensor:
    """det d(x + u)/dx by central differences, (D, H, W), of one field (1, 3, D, H, W).

    The change from voxels to mm is one linear map on both sides, so the determinant is that of physical space.
    """
    return jacobian_determinants(field)[0]


def jacobian_determinants(fields: torch.Tensor) -> torch.Tensor:
    """`jacobian_determinant` of each of the fields (B, 3, D, H, W): (B, D, H, W)."""
    rows = [gradient(single(fields)[:, axis : axis + 1]).unbind(1) for axis in range(3)]
    a, b, c = rows[0][0] + 1, rows[0][1], rows[0][2]
    d, e, f = rows[1][0], rows[1][1] + 1, rows[1][2]
    g, h, i = rows[2][0], rows[2][1], rows[2][2] + 1
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def least_corner_determinant(field: torch.Tensor) -> torch.Tensor:
    """The smallest det d(x + u)/dx over the eight corners of one-sided differences, (D, H, W).

    Central differences miss a fold of one voxel; see `DisplacementField.corner_jacobian_determinants`.
    """
    parts = []
    depth = field.shape[2]
    for start, stop in slabs(field):
        low, high = max(0, start - 1), min(depth, stop + 1)
        along_i, along_j, along_k = (_one_sided(field[:, :, low:high], dim) for dim in (4, 3, 2))
        least = torch.full((high - low, *field.shape[3:]), torch.inf, device=field.device)
        for b, c in itertools.product(along_j, along_k):
            # Torch's own cross product takes ten times as long on a CPU.
            face = [b[m] * c[n] - b[n] * c[m] for m, n in ((1, 2), (2, 0), (0, 1))]
            for a in along_i:
                torch.minimum(least, _dot(a, face), out=least)
        parts.append(least[start - low : stop - low])
    return torch.cat(parts)


def _one_sided(field: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns of the Jacobian, (3, D, H, W), along one axis, from forward and from backward differences."""
    size, axis = field.shape[dim], 4 - dim
    step = field.diff(dim=dim) if size > 1 else torch.zeros_like(field)
    ends = (
        [step, step]
        if size == 1
        else [
            torch.cat([step, step.narrow(dim, size - 2, 1)], dim),
            torch.cat([step.narrow(dim, 0, 1), step], dim),
        ]
    )
    columns = []
    for end in ends:
        column = end[0].clone() if size == 1 else end[0]
        column[axis] += 1
        columns.append(column)
    return columns[0], columns[1]


def unfolded(field: torch.Tensor, least: float = 0.02, rounds: int = 40) -> torch.Tensor:
    """The field, smoothed only around voxels whose determinant is below `least`, until there are none."""
    for _ in range(rounds):
        bad = least_corner_determinant(field) < least
        if not bool(bad.any()):
            break
        around = F.max_pool3d(bad[None, None].float(), 5, 1, 2)
        field = torch.lerp(field, smooth(field, 1.0), smooth(around, 1.0).clamp_(max=1))
    return field


def smooth(image: torch.Tensor, sigma: Sequence[float] | float, zero_border: bool = False) -> torch.Tensor:
    """Gaussian smoothing, `sigma` in voxels (one number, or one for each of i, j, k).

    At the border the nearest value is repeated, or zero is taken, which pulls a field towards zero there.
    """
    sigmas = (sigma,) * 3 if isinstance(sigma, (int, float)) else tuple(sigma)
    for axis, value in enumerate(sigmas):
        if value > 0:
            weights = np.exp(-0.5 * (np.arange(max(1, int(np.ceil(2.5 * value))) + 1) / value) ** 2)
            weights /= weights[0] + 2 * weights[1:].sum()
            image = _symmetric_filter(image, 4 - axis, weights.tolist(), "constant" if zero_border else "replicate")
    return image


def box_sum(image: torch.Tensor, radius: int) -> torch.Tensor:
    """Sum over the cube of 2 `radius` + 1 voxels a side around each voxel; zero outside the image."""
    for dim in (4, 3, 2):
        image = _symmetric_filter(image, dim, [1.0] * (radius + 1), "constant")
    return image


def _symmetric_filter(image: torch.Tensor, dim: int, weights: Sequence[float], border: str) -> torch.Tensor:
    """Filter along one dimension; `weights` run from the centre outwards."""
    # A product with a banded matrix, block by block: for filters of any length it takes a CPU half the time, or less,
    # of adding shifted views, which move memory, and a fifth or less of torch's pooling and convolution.
    size, radius = image.shape[dim], len(weights) - 1
    if size == 1 and border == "replicate":
        return image
    matrix = torch.as_tensor(_band(size, weights, border), dtype=image.dtype, device=image.device)
    # Of the three dimensions the ones before `dim`, itself, and the ones after it, whose voxels lie side by side.
    lines = image.reshape(image.shape[:dim].numel(), size, -1)
    filtered = torch.empty_like(lines)
    blocks = max(1, round(size / FILTER_BLOCK))
    # Half precision, which a surrounding autocast would choose for products, is too coarse for sums of squares.
    with _without_autocast(image.device.type):
        for block in range(blocks):
            start, stop = block * size // blocks, (block + 1) * size // blocks
            low, high = max(0, start - radius), min(size, stop + radius)
            part, read = matrix[start:stop, low:high], lines[:, low:high]
            filtered[:, start:stop] = (read[..., 0] @ part.T)[..., None] if dim == 4 else part @ read
    return filtered.view(image.shape)


def _without_autocast(device: str) -> contextlib.AbstractContextManager:
    # Before torch 2.5 it refuses to be asked of Apple's devices, where nothing here uses it.
    return torch.autocast(device, enabled=False) if device in ("cpu", "cuda") else contextlib.nullcontext()


def _band(size: int, weights: Sequence[float], border: str) -> np.ndarray:
    """(size, size): the matrix of a symmetric filter; beyond the border lies zero, or with "replicate" the border."""
    radius = len(weights) - 1
    rows, offsets = np.meshgrid(np.arange(size), np.arange(-radius, radius + 1), indexing="ij")
    columns, values = rows + offsets, np.asarray(weights)[np.abs(offsets)]
    if border == "constant":
        values = np.where((columns >= 0) & (columns < size), values, 0)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (rows, np.clip(columns, 0, size - 1)), values)
    return matrix
