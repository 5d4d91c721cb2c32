"""A training from inputs to model: check everything first, prepare the data, run the loop; or measure a model anew."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from ..errors import Cancelled, InputError, ModelError
from ..models.registry import Card, list_models
from ..models.weights import load_network, load_weights
from ..networks import build
from ..progress import Progress
from . import checkpoint as checkpoints
from .checkpoint import Checkpoint
from .collection import Collection
from .data import load
from .loop import CHECKPOINT, FOLDER, Outcome, Training, Watchers
from .publish import CARD, check_card, publish
from .ranks import Ranks, joined
from .recipe import Recipe
from .sources import open_source
from .typical import typical_of
from .validation import rounding_mm, validate

DATA = "data.npz"


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    start_from: Path | None = None,
    device: str = "auto",
    minutes: float | None = None,
    threads: int | None = None,
    watchers: Watchers | None = None,
) -> Outcome:
    """Train a network and leave a model in the folder `out`.

    Args:
        recipe: all that steers the training.
        data: folder of the images and label maps.
        out: the model's folder; `out/training` holds checkpoint, curves, pictures and the prepared data.
        resume: go on from the checkpoint in `out`.
        start_from: folder of a model whose weights to begin with, where names and shapes are those of this network.
        device: as in `Settings`; under `torchrun` each process takes a CUDA device of its own, or the CPU.
        minutes: stop by the clock, with a checkpoint.
        threads: CPU threads of this process; None leaves it to torch.
        watchers: who looks on.

    Raises:
        DeepRegisterError: for all that is wrong with recipe, data, folder or checkpoint, before training begins; and a
            `ModelError` where the loss stops being a number.
    """
    started = time.monotonic()
    watchers = watchers or Watchers()
    # The folder's name is the model's, also where it was given as "." or "..".
    out = out.resolve()
    check_card(recipe, out.name)
    network = build(recipe.model["architecture"], recipe.model.get("parameters", {}))
    _check_crop(recipe, network)
    _check_folder(out, resume)
    if any(card.name == out.name and card.folder.resolve() != out for card in list_models()):
        watchers.say(f"There is a model {out.name} already: to be listed beside it, the folder needs another name.")
    if start_from is not None:
        if resume:
            raise InputError("A training that is gone on with has its weights: leave out --start-from or --resume.")
        watchers.say(_take_over(network, start_from))
    with _threads(threads), joined(device) as ranks:
        state = Checkpoint.read(out / FOLDER / CHECKPOINT) if resume else None
        if state is not None:
            checkpoints.check_same_recipe(state, recipe, out / FOLDER / CHECKPOINT)
        collection = _collection(recipe, data, out / FOLDER / DATA, ranks, watchers)
        source = open_source(collection, recipe, ranks.device)
        first = None if start_from is None else network.state_dict()
        before = "" if start_from is None else f" Began as {start_from.resolve().name}: {_training_of(start_from)}"
        typical = typical_of(collection, recipe, source) if ranks.leads else None
        training = Training(recipe, out, ranks, source, watchers, state, first, typical, before)
        return training.run(None if minutes is None else started + 60 * minutes)


def measure(
    recipe: Recipe,
    data: Path,
    model: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    watchers: Watchers | None = None,
) -> dict[str, float]:
    """Measure a finished model on the recipe's validation pairs, and write its card anew with what was found.

    Everything else on the card comes from the recipe, but for the sentence on its training.

    Args:
        recipe: that the model was trained by.
        data: folder of the images and label maps, as for the training.
        model: folder of the model.
        device, threads, watchers: as in `train`.

    Returns:
        The figures by name.

    Raises:
        DeepRegisterError: recipe, data or model are wrong, or do not belong together; the model is as it was.
    """
    watchers = watchers or Watchers()
    model = model.resolve()
    check_card(recipe, model.name)
    card = Card.read(model / CARD)
    wanted = recipe.model["architecture"], dict(recipe.model.get("parameters", {}))
    if wanted != (card.architecture, dict(card.parameters)):
        raise InputError(f"{model} was not trained by this recipe: its network is another. Choose the recipe it names.")
    with _threads(threads), joined(device) as ranks, tempfile.TemporaryDirectory() as folder:
        # What the training has prepared is taken again where it is still there.
        kept = model / FOLDER / DATA
        collection = _collection(recipe, data, kept if kept.exists() else Path(folder) / DATA, ranks, watchers)
        source = open_source(collection, recipe, ranks.device)
        network = load_network(card, ranks.device)
        figures, _ = validate(network, source.validation, recipe)
        rounded = rounding_mm(network, source.validation, recipe.data.spacing_mm)
        finished = not card.experimental or bool(recipe.model.get("experimental", False))
        publish(
            network, recipe, model, card.training, figures, finished, rounded, typical_of(collection, recipe, source)
        )
    return figures


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """`count` CPU threads inside the block; torch's number is one for the whole process, so it is put back."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_crop(recipe: Recipe, network: nn.Module) -> None:
    odd = [size for size in recipe.data.crop if size % network.multiple]
    if odd:
        raise InputError(
            f"data.crop is {list(recipe.data.crop)}; the network needs multiples of {network.multiple} voxels."
        )


def _check_folder(out: Path, resume: bool) -> None:
    if not resume and (out / FOLDER / CHECKPOINT).exists():
        raise InputError(
            f"{out} holds a training already. Go on with it by --resume, or choose another folder with --out."
        )
    if not resume and any((out / name).exists() for name in ("card.toml", "weights.safetensors")):
        raise InputError(f"{out} holds a model already. Choose another folder with --out.")


def _training_of(folder: Path) -> str:
    return Card.read(folder / CARD).training


def _take_over(network: nn.Module, folder: Path) -> str:
    """Put the weights of a model into the network, where they fit, and say how many did."""
    weights = load_weights(Card.read(folder / CARD))
    own = network.state_dict()
    fitting = {
        name: tensor.float() for name, tensor in weights.items() if name in own and own[name].shape == tensor.shape
    }
    if not fitting:
        raise ModelError(
            f"None of the weights in {folder} fits the recipe's network. Choose another model to start from."
        )
    network.load_state_dict(fitting, strict=False)
    return f"{len(fitting)} of {len(own)} tensors begin as those of {folder.name}."


def _collection(recipe: Recipe, data: Path, kept: Path, ranks: Ranks, watchers: Watchers) -> Collection:
    """The data; the first process prepares it and keeps it in a file, the others read that."""

    def report(fraction: float, message: str) -> None:
        if watchers.cancelled():
            raise Cancelled()
        watchers.progress(Progress("prepare", fraction, message))

    if not ranks.leads:
        ranks.wait()
    collection = load(data, recipe, kept, report)
    if ranks.leads:
        ranks.wait()
    return collection
