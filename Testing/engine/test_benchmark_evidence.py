"""The two commands that make all figures again: their steps exist, and one that fails does not stop the others."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import evidence


@cache
def help_of(script):
    asked = [sys.executable, evidence.HERE / script, "--help"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("which", evidence.STEPS)
def test_every_step_is_a_command_that_knows_its_options(which):
    for step in evidence.STEPS[which]:
        script, *words = step.words
        options = [word for word in words if word.startswith("--")] + [f"--{name}" for name in step.takes]
        assert [option for option in options if option not in help_of(script)] == [], step.name


def test_a_step_that_fails_is_told_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    script = tmp_path / "step.py"
    script.write_text(
        "import sys\nopen(sys.argv[1], 'a').write(' '.join(sys.argv[2:]) + '\\n')\nsys.exit('3' in sys.argv)\n",
        encoding="utf-8",
    )
    diary = str(tmp_path / "diary")
    steps = [evidence.Step(f"step {n}", (str(script), diary, str(n)), ("changed",)) for n in (2, 3, 4)]
    steps.append(evidence.Step("step 5", (str(script), diary, "5"), ("add",)))
    monkeypatch.setitem(evidence.STEPS, "quick", tuple(steps))
    assert evidence.main(["quick", "--changed", "the weather"]) == 1
    assert "Failed: step 3 (exit status 1)." in capsys.readouterr().err
    assert evidence.main(["quick", "--only", "step 4", "step 5", "--add"]) == 0
    lines = (tmp_path / "diary").read_text(encoding="utf-8").splitlines()
    assert lines == [f"{n} --changed the weather" for n in (2, 3, 4)] + ["5", "4", "5 --add"]
