"""Small folders of images to train on: a bright blob with a core in a textured box, of another size and place each."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from deepregister import Geometry, Volume
from scipy.ndimage import gaussian_filter

SIZE = (20, 18, 16)
RECIPE = """
[model]
title = "Toy"
summary = "A toy."
family = "unsupervised"
architecture = "voxelmorph"
paper = "none"
licence = "CC0-1.0"
modalities = ["any"]
[model.parameters]
encoder = [4, 4]
decoder = [4, 4, 4]
[data]
labels = "labels/*.nii.gz"
validation = 2
crop = [16, 16, 16]
align = "none"
[loss]
mse = 1.0
dice = 1.0
smoothness = 0.1
[optimiser]
steps = 6
learning_rate = 0.003
warmup = 2
[validation]
pairs = 2
every = 3
"""


def subject(number: int, geometry: Geometry | None = None) -> tuple[Volume, Volume]:
    """The image and the label map (1 the blob, 2 its core) of one subject, on a grid of 1 mm or another one."""
    geometry = geometry or Geometry(SIZE)
    rng = np.random.default_rng(number)
    centre = np.asarray(SIZE) / 2 - 0.5 + rng.uniform(-1, 1, 3)
    radius = rng.uniform(4, 6)
    distance = np.linalg.norm((geometry.points() - centre) / [1, 0.9, 0.8], axis=-1)
    labels = (distance < radius).astype(np.uint8) + (distance < radius / 2)
    texture = gaussian_filter(rng.normal(0, 1, geometry.shape), 1)
    image = gaussian_filter(100 + 200 * (labels > 0) + 150 * (labels > 1) + 40 * texture, 0.5)
    return Volume(image.astype(np.float32), geometry), Volume(labels, geometry)


def write_folder(folder: Path, count: int = 6, names: tuple[str, str] = ("images/*.nii.gz", "labels/*.nii.gz")) -> Path:
    """`count` subjects called case01 and so on, in files whose `*` is the subject's name; returns the folder."""
    for number in range(1, count + 1):
        for volume, pattern in zip(subject(number), names, strict=True):
            path = folder / pattern.replace("*", f"case{number:02d}")
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(volume.to_sitk(), str(path))
    return folder
