"""Weights: what the card says they are, or refused with the file's name and the reason; never a pickle."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import deepregister
import pytest
import torch
from deepregister.errors import ModelError
from deepregister.models.registry import Card, load_model
from deepregister.models.weights import TYPES, load_network, load_weights
from safetensors.torch import save_file
from toymodels import random_network, toy_model, write_model

CPU = torch.device("cpu")


def resigned(card):
    """The card after its sum was brought up to the file as it is now."""
    path = card.folder / "card.toml"
    digest = hashlib.sha256((card.folder / card.weights).read_bytes()).hexdigest()
    path.write_text(path.read_text(encoding="utf-8").replace(card.sha256, digest), encoding="utf-8")
    return Card.read(path)


def refused(card, message):
    with pytest.raises(ModelError, match=message) as caught:
        load_model(card)
    assert str(card.folder / card.weights) in str(caught.value)


@pytest.mark.parametrize("architecture", ["voxelmorph", "pyramid"])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_a_network_comes_back_as_it_was_saved(tmp_path, architecture, kind):
    network = random_network(architecture)
    card = write_model(tmp_path / "toy", network, architecture, kind=kind)
    assert load_weights(card).keys() == network.state_dict().keys()
    loaded = load_network(card, CPU)
    assert not loaded.training
    for name, value in network.state_dict().items():
        found = loaded.state_dict()[name]
        assert found.dtype == torch.float32 and torch.equal(found, value.to(kind).float())


def test_models_run_where_safetensors_is_not_installed(tmp_path):
    card = toy_model(tmp_path / "toy")
    code = (
        "import sys\n"
        "sys.modules['safetensors'] = None\n"
        "import deepregister.registration\n"
        "from deepregister.models.registry import find_model, load_model\n"
        f"print(load_model(find_model('toy', {str(card.folder.parent)!r})).stride)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(deepregister.__file__).parents[1])}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "2", run.stderr


def test_every_kind_of_number_is_read_as_safetensors_writes_it(tmp_path):
    card = toy_model(tmp_path / "toy")
    kinds = set(TYPES.values()) - {torch.bool}
    tensors = {str(kind): torch.arange(24).reshape(2, 3, 4).to(kind) for kind in kinds}
    tensors |= {"truth": torch.tensor([True, False]), "nothing": torch.zeros(0, 3), "number": torch.tensor(2.5)}
    save_file(tensors, card.folder / card.weights, {"about": "a test"})
    found = load_weights(resigned(card))
    assert found.keys() == tensors.keys()
    assert all(found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in tensors.items())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        (1 << 60).to_bytes(8, "little"),
        (2).to_bytes(8, "little") + b"[]",
        (4).to_bytes(8, "little") + b"\xff\xff\xff\xff",
        (3).to_bytes(8, "little") + b"{x}",
    ],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    card = toy_model(tmp_path / "toy")
    (card.folder / card.weights).write_bytes(content)
    refused(resigned(card), "no .safetensors file")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [3], "data_offsets": [-12, 0]},
        {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 1 << 62]},
        {"dtype": "F8", "shape": [3], "data_offsets": [0, 3]},
        {"shape": [3]},
        7,
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, entry):
    card = toy_model(tmp_path / "toy")
    header = json.dumps({"flow.bias": entry}).encode()
    (card.folder / card.weights).write_bytes(len(header).to_bytes(8, "little") + header + bytes(12))
    refused(resigned(card), "no .safetensors file")


def test_it_is_kept_for_the_next_run_until_the_file_changes(tmp_path):
    card = toy_model(tmp_path / "toy")
    assert load_network(card, CPU) is load_network(Card.read(card.folder / "card.toml"), CPU)
    content = bytearray((card.folder / card.weights).read_bytes())
    content[-1] ^= 1
    (card.folder / card.weights).write_bytes(content)
    refused(card, "damaged")


def test_one_flipped_bit_is_noticed(tmp_path):
    card = toy_model(tmp_path / "toy")
    content = bytearray((card.folder / card.weights).read_bytes())
    content[len(content) // 2] ^= 1
    (card.folder / card.weights).write_bytes(content)
    refused(card, re.escape(f"where its card says {card.sha256[:12]}"))


def test_missing_weights_are_said(tmp_path):
    card = toy_model(tmp_path / "toy")
    (card.folder / card.weights).unlink()
    refused(card, "cannot be read: No such file")


def test_a_pickle_is_not_read_even_with_the_right_sum(tmp_path):
    card = toy_model(tmp_path / "toy")
    ran = tmp_path / "ran"
    torch.save({"flow.weight": _Spy(ran)}, card.folder / card.weights)
    refused(resigned(card), "no .safetensors file")
    assert not ran.exists()


class _Spy:
    """Leaves a file where something unpickles it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors | {"flow.weight": torch.zeros(3, 5, 3, 3, 3)}, r"flow.weight has the shape \(3, 5"),
        (lambda tensors: {n: t for n, t in tensors.items() if n != "flow.bias"}, "flow.bias is missing"),
        (lambda tensors: tensors | {"extra": torch.zeros(1)}, "extra is unknown"),
        (lambda tensors: tensors | {"flow.bias": torch.zeros(3, dtype=torch.int32)}, "torch.int32 and no fractions"),
        (lambda tensors: tensors | {"flow.bias": torch.full((3,), torch.nan)}, "not finite"),
        (lambda tensors: random_network("pyramid").state_dict(), "and [0-9]+ more"),
    ],
    ids=["shape", "missing", "unknown", "integers", "not a number", "another network"],
)
def test_foreign_weights_are_refused_by_what_does_not_fit(tmp_path, change, message):
    card = toy_model(tmp_path / "toy")
    save_file(change(load_weights(card)), card.folder / card.weights)
    refused(resigned(card), message)


def test_parameters_that_the_network_does_not_know_are_refused_by_card(tmp_path):
    network = random_network("voxelmorph")
    card = write_model(tmp_path / "toy", network, "voxelmorph", parameters={"depth": 3})
    with pytest.raises(ModelError, match="no parameter depth") as caught:
        load_model(card)
    assert str(card.folder / "card.toml") in str(caught.value)
