"""The registry: cards are read, checked and listed; a folder that is copied in is a model."""

import pytest
from deepregister.errors import ModelError
from deepregister.models import registry
from deepregister.models.registry import Card, find_model, list_models, load_model


@pytest.fixture(autouse=True)
def no_user_models(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "user_models_dir", lambda: tmp_path / "user")


def copied(folder, **changes):
    """A model folder like `affine`, with some lines of its card replaced."""
    text = (registry.BUILT_IN / "affine" / "card.toml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.split(" = ")[0] not in changes]
    lines = [f"{name} = {value}" for name, value in changes.items() if value is not None] + lines
    folder.mkdir(parents=True)
    (folder / "card.toml").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_built_in_models_are_listed_simplest_first():
    cards = list_models()
    assert [card.name for card in cards][:3] == ["rigid", "affine", "deformable"]
    for card in cards:
        assert card.summary.endswith(".") and len(card.summary) < 120 and card.paper and card.licence


@pytest.mark.parametrize("card", list_models(), ids=lambda card: card.name)
def test_every_card_loads_a_model_that_can_run(card):
    assert callable(load_model(card).run)


def test_folders_of_the_user_are_models_too(tmp_path):
    copied(tmp_path / "user" / "mine", name='"mine"')
    copied(tmp_path / "more" / "lab", name='"lab"', experimental="true")
    cards = list_models(tmp_path / "more")
    assert {"mine", "lab"} <= {card.name for card in cards}
    # Experimental ones come last.
    assert [card.experimental for card in cards] == sorted(card.experimental for card in cards)
    assert find_model("lab", tmp_path / "more").parameters == {"kind": "affine"}


def test_two_models_of_one_name_are_refused(tmp_path):
    copied(tmp_path / "user" / "again")
    with pytest.raises(ModelError, match="Two models are called 'affine'"):
        list_models()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": '"teleport"'}, "architecture 'teleport'"),
        ({"transform": '"wormhole"'}, "transform 'wormhole'"),
        ({"summary": None}, "lacks summary"),
        ({"colour": '"red"'}, "does not know colour"),
        ({"name": "= ="}, "cannot be read"),
        ({"modalities": '"MR"'}, r"modalities = 'MR'. It must be a list of texts"),
        ({"experimental": "1"}, "experimental = 1. It must be true or false"),
        ({"extent_mm": "[60, 30]"}, "the smaller one first"),
        ({"spacing_mm": '"1 mm"'}, "a number of at least 0"),
        ({"passes_mm": "[2.0, 0]"}, "a list of numbers above 0"),
        ({"figures": "{ dice = 0.8 }"}, "a value and a sentence"),
        ({"weights": '"w.safetensors"'}, "names weights, but"),
    ],
)
def test_damaged_cards_are_refused_by_file_and_reason(tmp_path, changes, message):
    folder = copied(tmp_path / "user" / "broken", **changes)
    with pytest.raises(ModelError, match=message) as caught:
        list_models()
    assert str(folder / "card.toml") in str(caught.value)


LEARNED = {
    "architecture": '"voxelmorph"',
    "transform": '"deformable"',
    "spacing_mm": "1.0",
    "weights": '"w.safetensors"',
    "sha256": f'"{"0f" * 32}"',
    "extent_mm": "[30, 60]",
    "anatomies": '["hippocampus"]',
    "known_failures": '["Fails where the hippocampus is cut off."]',
    "figures": '{ dice = { value = 0.8, sentence = "Mean Dice of two labels over 100 pairs." } }',
    "across_contrasts": None,
    "[parameters]": None,
    "kind": None,
}


def test_a_learned_card_says_what_its_network_needs(tmp_path):
    card = Card.read(copied(tmp_path / "net", name='"net"', **LEARNED) / "card.toml")
    assert card.learned and not find_model("affine").learned
    assert card.spacing_mm == 1.0 and card.extent_mm == (30, 60) and card.anatomies == ("hippocampus",)
    assert card.figures["dice"].value == 0.8 and card.figures["dice"].sentence.endswith("pairs.")
    assert card.bfloat16_mm is None and not card.across_contrasts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": None}, "64 digits"),
        ({"sha256": '"0F"'}, "64 digits"),
        ({"weights": None}, "name of a .safetensors file"),
        ({"weights": '"w.pt"'}, "name of a .safetensors file"),
        ({"weights": '"../w.safetensors"'}, "name of a .safetensors file"),
        ({"spacing_mm": None}, "spacing of the network's grid"),
        ({"transform": '"affine"'}, 'transform = "deformable"'),
    ],
)
def test_a_learned_card_that_cannot_run_is_refused(tmp_path, changes, message):
    folder = copied(tmp_path / "net", name='"net"', **{**LEARNED, **changes})
    with pytest.raises(ModelError, match=message):
        Card.read(folder / "card.toml")


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ModelError, match=r"'warp'.*rigid, affine, deformable"):
        find_model("warp")


def test_a_folder_of_models_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        list_models(tmp_path / "nowhere")


def test_cards_are_frozen():
    with pytest.raises(AttributeError):
        Card.read(registry.BUILT_IN / "rigid" / "card.toml").name = "other"
