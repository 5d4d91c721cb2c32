"""The short form of the robustness suite; `full.py` does the long one, with the same functions."""

import os
import random
import subprocess
import sys
from pathlib import Path

import conditions
import equivariance
import faults
import fuzz
import kills
import numpy as np
import pytest
from conditions import INTENSITIES, Condition, Grid
from deepregister import Rigid
from hypothesis import given, settings

posix = pytest.mark.skipif(os.name != "posix", reason="uses signals and limits of POSIX systems")
FUZZ_INPUTS = 150
SEED = 20


@pytest.fixture(scope="module")
def ground():
    with kills.ground() as place:
        yield place


@posix
@pytest.mark.parametrize("number", range(10))
def test_a_kill_at_a_random_moment_loses_leaks_and_half_writes_nothing(ground, number):
    found = kills.KINDS[number % len(kills.KINDS)](ground, random.Random(SEED + number))
    assert found.faults == (), found


@posix
@pytest.mark.parametrize("kind", faults.KINDS, ids=lambda kind: kind.__name__)
def test_what_a_run_needs_and_does_not_get_is_told_and_nothing_is_changed(ground, kind):
    found = kind(ground, random.Random(SEED))
    assert found.faults == (), found
    if found.outcome == "skipped":
        pytest.skip(found.detail)


@pytest.mark.parametrize("target", fuzz.NAMES)
def test_readers_take_or_refuse_whatever_they_are_given(tmp_path, target):
    """The same inputs each time: what depends on the clock, or on atheris, is for `full.py`."""
    script = (
        "import sys\nfrom itertools import islice\nimport fuzz, targets\nfrom examples import examples\n"
        "for content in islice(fuzz.damaged(examples(sys.argv[1]), 1), int(sys.argv[2])):\n"
        "    targets.TARGETS[sys.argv[1]](content)\n"
    )
    command = [sys.executable, "-X", "faulthandler", "-c", script, target, str(FUZZ_INPUTS)]
    paths = os.pathsep.join([str(Path(fuzz.__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_reader_that_fails_is_found_by_either_engine(tmp_path):
    script = (
        "import sys\nfrom pathlib import Path\nimport fuzz, targets\n"
        "def feed(data):\n    if b'liver' not in data: raise KeyError('organ')\n"
        "targets.TARGETS['points'] = feed\n"
        "import examples\nexamples._MAKERS['points'] = lambda folder: [b'the liver and the spleen']\n"
        "if sys.argv[1] == 'mutation': sys.modules['atheris'] = None\n"
        "corpus, faults = Path(sys.argv[2]), Path(sys.argv[3])\n"
        "fuzz._run_in_process('points', 20, corpus, faults, 1)\n"
    )
    here = str(Path(fuzz.__file__).parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, str(fuzz.CHECKOUT / "DeepRegister")])}
    for engine in ("mutation", "atheris"):
        corpus, found = tmp_path / engine / "corpus", tmp_path / engine / "faults"
        corpus.mkdir(parents=True)
        found.mkdir()
        command = [sys.executable, "-c", script, engine, str(corpus), str(found)]
        done = subprocess.run(command, capture_output=True, env=environment, timeout=300, check=False)
        assert done.returncode != 0
        assert "KeyError: 'organ'" in fuzz._last_words((done.stdout + done.stderr).decode("utf-8", "replace"), 1)
        # Without atheris both engines are the one.
        assert [path for path in found.iterdir() if b"liver" not in path.read_bytes()]


@posix
def test_an_input_that_takes_too_much_memory_by_itself_is_told_from_the_last_of_many(tmp_path, monkeypatch):
    file = tmp_path / "input"
    file.write_bytes(b"not a landmark")
    assert fuzz._is_harmless("points", str(file))
    monkeypatch.setattr(fuzz, "MEMORY_MB", 100)
    assert not fuzz._is_harmless("points", str(file))


@settings(max_examples=3)
@given(conditions.conditions())
def test_strange_pairs_are_found_or_refused(condition):
    conditions.outcome(condition)


@pytest.mark.parametrize("values", ["metal", "thick metal", "hot voxels", "many hot voxels", "CT padded with -3024"])
def test_pairs_with_strange_intensities_are_found(values):
    condition = Condition(Grid(order=(2, 0, 1)), Grid(flips=(True, False, False)), (values, values), ".mha")
    assert condition.fair
    assert conditions.outcome(condition)[0] == "correct result"


def test_a_result_that_is_wrong_and_looks_right_is_noticed(monkeypatch):
    monkeypatch.setattr(conditions, "SHIFT_MM", np.array([5.0, -4.0, 3.0]) + 1)
    wrong = Condition(Grid(spacing=(6.0, 6.0, 6.0)), Grid(spacing=(6.0, 6.0, 6.0)))
    volumes = wrong.volumes()
    monkeypatch.setattr(conditions, "SHIFT_MM", np.array([30.0, 0.0, 0.0]))
    monkeypatch.setattr(Condition, "volumes", lambda self: volumes)
    with pytest.raises(AssertionError, match="off by"):
        conditions.outcome(wrong)


CHANGES = ("axes of the moving volume permuted and flipped", "world turned obliquely")


@pytest.mark.parametrize("name", equivariance.CHANGES)
def test_a_change_of_expression_shows_the_same_bodies_at_the_same_places(name):
    old = equivariance.pair()
    new = equivariance.CHANGES[name](old)
    for side, space in (("fixed", new.fixed_space), ("moving", new.moving_space)):
        before = getattr(old, side)
        seen = Rigid(space).resample(getattr(new, side), before.geometry).data[2:-2, 2:-2, 2:-2]
        wanted = before.data[2:-2, 2:-2, 2:-2]
        assert np.corrcoef(seen.ravel().astype(float), wanted.ravel())[0, 1] > 0.9999
    assert (new.fixed.geometry, new.fixed.data.dtype) != (old.fixed.geometry, old.fixed.data.dtype) or name in (
        "computed again",
        "axes of the moving volume permuted and flipped",
        "intensities times 3, plus 500",
        "intensities of the moving volume times 0.01",
        "moving volume's world turned obliquely by 25 degrees",
    )


def test_the_same_pair_expressed_in_another_way_gives_the_same_field():
    changes = {name: equivariance.CHANGES[name] for name in CHANGES}
    found = equivariance.summary(equivariance.matrix(("deformable",), changes))
    assert len(found["rows"]) == len(CHANGES)
    assert found["faults"] == []


def test_every_kind_of_intensity_is_a_volume():
    for name in INTENSITIES:
        assert Condition(values=(name, name)).volumes()[0].data.size > 1000
