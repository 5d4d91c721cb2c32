"""What the README tells people to type works."""

import re
import shlex
from pathlib import Path

import numpy as np
from deepregister import Volume
from deepregister.cli import build_parser
from deepregister.commands.models import markdown
from deepregister.models.registry import BUILT_IN, list_models

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def snippets(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def test_the_python_snippet_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    k, j, i = np.indices((24, 26, 28))
    for name, shift in (("fixed", 0.0), ("moving", 2.0)):
        x = i - shift
        centre = np.sqrt((k - 12) ** 2 + (j - 13) ** 2 + (x - 14) ** 2)
        image = 100 / (1 + np.exp(centre - 8)) + 80 * np.exp(-((k - 9) ** 2 + (j - 12) ** 2 + (x - 12) ** 2) / 8)
        Volume.from_array(image.astype(np.float32), (2, 2, 2)).write(f"{name}.nii.gz")
    Volume.from_array((centre < 6).astype(np.uint8), (2, 2, 2)).write("moving-labels.nii.gz")
    (snippet,) = (text for text in snippets("python") if text.startswith("import deepregister"))
    variables = {}
    exec(compile(snippet, "README.md", "exec"), variables)
    before, after = (Volume.read(name).data for name in ("moving-labels.nii.gz", "labels-on-fixed.nii.gz"))
    # The ball came from two voxels farther along i.
    assert np.nonzero(before)[2].mean() - np.nonzero(after)[2].mean() > 1.5
    assert variables["points_on_fixed"].shape == (1, 3)
    assert (tmp_path / "result" / "transform.h5").is_file()


def test_the_commands_exist():
    lines = [line for text in snippets("sh") for line in text.splitlines() if line.startswith("deepregister")]
    assert len(lines) > 4
    for line in lines:
        build_parser().parse_args(shlex.split(line)[1:])


def test_the_pictures_are_there():
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert pictures
    assert all((Path(__file__).resolve().parents[2] / picture).is_file() for picture in pictures)


def test_the_table_of_models_is_that_of_the_cards():
    cards = [card for card in list_models() if card.folder.parent == BUILT_IN]
    assert f"\n{markdown(cards)}\n" in README, "Write it anew with `deepregister models --markdown`."
