"""Images made from label maps, of any contrast (Hoffmann et al., "SynthMorph", IEEE TMI 2022), and appearances.

`render` draws an image of a label map; `Appearance` gives a scan a contrast curve, a bias field and noise of its own.
`render_pairs` keeps renders of pairs of subjects of `brain_labels` as files for `compare.py`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deepregister import Geometry, Rigid, Volume
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter, zoom

# FreeSurfer's brain structures that are large enough to overlap: white matter, cortex, ventricles, deep grey, stem,
# cerebellum, as in `labels_table.txt`, left then right; the rest of the head has labels of its own.
LEFT = (2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 17, 18, 26, 28)
RIGHT = (41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60)
MIDDLE = (14, 15, 16)
STRUCTURES = LEFT + MIDDLE + RIGHT
MARGIN_VOXELS = 8


@dataclass(frozen=True)
class Appearance:
    """What a scanner makes of a picture in 0..1.

    Attributes:
        curve: values that 0, 0.25, 0.5, 0.75 and 1 are shown as, rising; a smooth curve runs through them.
        bias: standard deviation of the logarithm of the bias field.
        noise: standard deviation of the noise.
        slice_axis, slices_mm: thick slices along one axis (0, 1, 2 for i, j, k); 0 mm leaves the grid alone.
    """

    curve: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    bias: float = 0.1
    noise: float = 0.03
    slice_axis: int = 2
    slices_mm: float = 0.0

    @classmethod
    def random(cls, rng: np.random.Generator, thick: bool = False) -> Appearance:
        """A curve bent either way, bias of 5 to 20 %, noise of 1 to 5 %; with `thick` slices of 3 to 5 mm."""
        steps = rng.uniform(0.4, 1.6, 4)
        curve = tuple(map(float, np.concatenate([[0], np.cumsum(steps) / steps.sum()])))
        bias, noise = float(rng.uniform(0.05, 0.2)), float(rng.uniform(0.01, 0.05))
        return cls(curve, bias, noise, int(rng.integers(3)), float(rng.uniform(3, 5)) if thick else 0.0)

    def of(self, picture: Volume, rng: np.random.Generator) -> Volume:
        """The scan of a picture in 0..1, int16, 0 to about 1000."""
        geometry = picture.geometry
        values = PchipInterpolator(np.linspace(0, 1, len(self.curve)), self.curve)(np.clip(picture.data, 0, 1))
        values = values.astype(np.float32) * np.exp(_bias_field(geometry, self.bias, rng))
        if self.slices_mm > geometry.spacing[self.slice_axis]:
            values, geometry = _sliced(Volume(values, geometry), self.slice_axis, self.slices_mm)
        values = values + rng.normal(0, self.noise, values.shape)
        return Volume(np.clip(np.rint(1000 * values), 0, 32000).astype(np.int16), geometry, picture.name)


def _bias_field(geometry: Geometry, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Logarithm of a smooth field with this standard deviation, varying over about a third of the volume."""
    coarse = gaussian_filter(rng.normal(size=(12, 12, 12)), 2, mode="wrap")
    fine = zoom(coarse, np.array(geometry.shape) / 12, order=1, grid_mode=True, mode="nearest")
    return (strength * (fine - fine.mean()) / fine.std()).astype(np.float32)


def _sliced(volume: Volume, axis: int, thickness_mm: float) -> tuple[np.ndarray, Geometry]:
    """Averaged over slices of this thickness, one per slice."""
    spacing = list(volume.geometry.spacing)
    sigma = [0.0, 0.0, 0.0]
    # A Gaussian of the same width at half its height stands for the profile of a slice.
    sigma[2 - axis] = thickness_mm / spacing[axis] / 2.355
    spacing[axis] = thickness_mm
    onto = volume.geometry.with_spacing(spacing)
    blurred = Volume(gaussian_filter(volume.data, sigma), volume.geometry)
    return Rigid.identity().resample(blurred, onto, "linear").data, onto


def random_contrast(rng: np.random.Generator, labels: np.ndarray) -> dict[int, tuple[float, float]]:
    """Mean and spread (0..1) of each label; left and right look alike, the background is dark."""
    twin = dict(zip(RIGHT, LEFT, strict=True))
    table: dict[int, tuple[float, float]] = {0: (0.0, 0.0)}
    for value in sorted({int(v) for v in labels} - {0}, key=lambda v: (twin.get(v, v), v)):
        drawn = float(rng.uniform(0.1, 0.95)), float(rng.uniform(0.01, 0.05))
        table[value] = table[twin[value]] if twin.get(value) in table else drawn
    return table


def render(
    labels: Volume,
    contrast: dict[int, tuple[float, float]],
    appearance: Appearance,
    rng: np.random.Generator,
    blur_mm: float = 0.6,
) -> Volume:
    """An image of a label map: a draw from each label's distribution, blurred, then seen by a scanner.

    Args:
        labels: integers.
        contrast: mean and spread in 0..1 by label; a label that is missing is dark.
        appearance: of the scanner.
        rng: of the texture, the bias and the noise.
        blur_mm: standard deviation of the blur that makes voxels share tissues.
    """
    table = np.zeros((2, int(labels.data.max()) + 1), np.float32)
    for value, both in contrast.items():
        if value < table.shape[1]:
            table[:, value] = both
    texture = rng.standard_normal(labels.data.shape, dtype=np.float32)
    values = table[0][labels.data] + table[1][labels.data] * texture
    values = gaussian_filter(values, [blur_mm / s for s in labels.geometry.spacing[::-1]])
    return appearance.of(Volume(values, labels.geometry, labels.name), rng)


def head_labels(data: Path, subject: int) -> Volume:
    """A whole-head label map of `brain_labels` (subject from 1 to 20), cut to the head."""
    path = data / "brain_labels" / f"training_seg_{subject:02d}.nii.gz"
    whole = Volume.read(path).astype(np.int32)
    inside = np.argwhere(whole.data > 0)[:, ::-1]
    start = np.maximum(inside.min(0) - MARGIN_VOXELS, 0)
    stop = np.minimum(inside.max(0) + 1 + MARGIN_VOXELS, whole.geometry.size)
    cut = whole.data[start[2] : stop[2], start[1] : stop[1], start[0] : stop[0]]
    return Volume(cut, whole.geometry.cropped(start, stop), f"subject {subject}")


def structures(labels: Volume) -> Volume:
    """The brain's structures alone."""
    return Volume(np.where(np.isin(labels.data, STRUCTURES), labels.data, 0).astype(np.uint8), labels.geometry)


def render_pairs(data: Path, count: int) -> list[tuple[str, dict[str, Path]]]:
    """Names and files of `count` pairs of two subjects each, up to ten; every second pair has two contrasts.

    Every third pair has thick slices on its moving side. The files are kept under build/renders, by the text of this
    module: what would draw them otherwise makes them anew.
    """
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    folder = Path(__file__).resolve().parents[2] / "build" / "renders" / digest
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number in range(count):
        rng = np.random.default_rng([2022, number])
        subjects = (2 * number + 1, 2 * number + 2)
        names = ("fixed", "moving", "fixed_labels", "moving_labels")
        files = {name: folder / f"{number:02d}_{name}.nii.gz" for name in names}
        one, thick = number % 2 == 0, number % 3 == 2
        if not all(path.exists() for path in files.values()):
            contrasts: list[dict] = []
            for side, subject in zip(("fixed", "moving"), subjects, strict=True):
                labels = head_labels(data, subject)
                # Drawn for every number that any subject's map may hold, so that both sides take the same.
                contrasts.append(contrasts[0] if one and contrasts else random_contrast(rng, np.arange(1, 600)))
                appearance = Appearance.random(rng, thick and side == "moving")
                structures(labels).write(files[f"{side}_labels"])
                render(labels, contrasts[-1], appearance, rng).write(files[side])
        name = f"render {subjects[0]}<-{subjects[1]}, {'one contrast' if one else 'two contrasts'}"
        pairs.append((name + (", thick slices" if thick else ""), files))
    return pairs
