"""Folders of learned models for tests: small networks with random weights that move images by a few voxels."""

import hashlib
import json
import shutil

import torch
from deepregister import Affine, Settings
from deepregister.models.learned import LearnedModel
from deepregister.models.registry import Card
from deepregister.networks import build
from deepregister.spatial import smooth, warp
from safetensors.torch import save_file

SMALL = {
    "voxelmorph": {"encoder": [4, 6, 6], "decoder": [6, 6, 6, 4], "stride": 2},
    "pyramid": {"channels": [4, 5, 6], "decoder": [6, 6, 6], "radius": [1, 1, 2], "repeats": [1, 1, 1]},
}


def random_network(architecture, voxels=2.0, **parameters):
    """A network that moves blobs by up to about `voxels`."""
    torch.manual_seed(1)
    network = build(architecture, SMALL[architecture] | parameters).eval()
    last = [network.flow] if architecture == "voxelmorph" else [each.velocity for each in network.decoders.values()]
    blobs = smooth(torch.randn(2, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0)), 2.0)
    fixed, moving = (0.5 + blobs / (2 * blobs.abs().max())).split(1)
    with torch.no_grad():
        for layer in last:
            layer.weight.normal_(std=0.1)
        for _ in range(4):
            motion = network(fixed, moving)
            moved = motion.fixed_to_moving.abs().max() * motion.stride
            for layer in last:
                layer.weight.mul_(voxels / moved)
    return network


def write_model(folder, network, architecture, spacing_mm=4.0, parameters=None, kind=torch.float32, **entries):
    """`folder` as a model with the weights of `network`; returns its card.

    Args:
        entries: of the card, None to leave one out.
    """
    folder.mkdir(parents=True)
    tensors = {name: value.detach().to(kind).contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, folder / "weights.safetensors")
    values = {
        "name": folder.name,
        "title": "Toy",
        "summary": "A toy with random weights.",
        "family": "unsupervised",
        "architecture": architecture,
        "transform": "deformable",
        "modalities": ["any"],
        "paper": "none",
        "licence": "Apache-2.0",
        "spacing_mm": spacing_mm,
        "weights": "weights.safetensors",
        "sha256": hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest(),
        **entries,
    }
    values["parameters"] = SMALL[architecture] | (parameters or {})
    lines = [f"{name} = {_toml(value)}" for name, value in values.items() if value is not None]
    (folder / "card.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Card.read(folder / "card.toml")


def _toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(each)}" for name, each in value.items()) + " }"
    # JSON's texts, numbers, truth values and lists are TOML's too.
    return json.dumps(value)


def trained_model(folder, pair, start=None, steps=40, spacing_mm=4.0, **entries):
    """A model in `folder` whose network has learned one pair by heart, as the start leaves it."""
    parameters = {"stride": 1}
    network = random_network("voxelmorph", 0.1, **parameters)
    raw = LearnedModel(write_model(folder / "raw" / "raw", network, "voxelmorph", spacing_mm, parameters))
    grid, seen = raw.grid(pair.fixed, Settings()), []
    for side, through in ((pair.fixed, Affine.identity()), (pair.moving, start or Affine.identity())):
        image = through.resample(side.reduced(spacing_mm).image, grid, fill=0)
        seen.append(torch.as_tensor(image.data)[None, None])
    network.requires_grad_(True)
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(steps):
        loss = ((seen[0] - warp(seen[1], network(*seen).fixed_to_moving, "zeros")) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    shutil.rmtree(folder / "raw")
    return write_model(folder / "trained", network, "voxelmorph", spacing_mm, parameters, **entries)


def toy_model(folder, architecture="voxelmorph", voxels=2.0, parameters=None, **entries):
    """A random network as a model in `folder`; see `random_network` and `write_model`."""
    network = random_network(architecture, voxels, **(parameters or {}))
    return write_model(folder, network, architecture, parameters=parameters, **entries)
