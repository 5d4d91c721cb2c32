"""The environments of other programs: each method has one, and they are made with venv and pip alone."""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks" / "peers"))

import install
import pytest
from methods import METHODS
from running import python_of
from suites import SUITES


def test_every_method_has_its_script_and_its_environment():
    for name, method in METHODS.items():
        assert method.script.is_file(), name
        assert not method.environment or method.environment in install.environments(), name
    assert {method.environment for method in METHODS.values() if method.environment} == set(install.environments())


def test_every_version_is_pinned():
    for name in install.environments():
        lines = (install.HERE / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        lines = [line for line in lines if line and not line.startswith("#")]
        assert lines and all("==" in line for line in lines), name
    assert all("==" in line for lines in install.WITHOUT_DEPENDENCIES.values() for line in lines)


def test_the_suites_know_their_methods_and_data_sets():
    from datasets import DATASETS

    for suite in SUITES.values():
        assert set(suite.methods) <= set(METHODS) and set(suite.pairs) <= set(DATASETS)
    full, slow = (set(SUITES[name].methods) for name in ("full", "slow"))
    assert full | slow == set(METHODS) and not full & slow


def test_an_environment_is_made_and_what_is_missing_in_it_is_told(tmp_path, monkeypatch, capsys):
    wanted = tmp_path / "requirements" / "little.txt"
    wanted.parent.mkdir()
    wanted.write_text("# nothing\n", encoding="utf-8")
    monkeypatch.setattr(install, "HERE", tmp_path)
    folder = tmp_path / "environments"
    # Nothing is fetched: there is no index.
    assert install.main(["--folder", str(folder), "--", "--no-index"]) == 0
    asked = [python_of(folder / "little"), "-c", "import sys; print(sys.prefix)"]
    said = subprocess.run(asked, capture_output=True, check=True)
    assert Path(said.stdout.decode().strip()) == folder / "little"
    wanted.write_text("a-package-that-is-nowhere==1\n", encoding="utf-8")
    assert install.main(["little", "--folder", str(folder), "--", "--no-index"]) == 1
    assert "little could not be made" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        install.main(["large"])
