"""Each sabotage still fits the code and its tests, and the script tells what was noticed from what was not."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

if os.name != "posix":
    pytest.skip("the tests of a sabotage are measured on POSIX systems alone", allow_module_level=True)

import sabotage
from sabotages import SABOTAGES, Sabotage

ENGINE = "DeepRegister/deepregister/__init__.py"
SUM = "import deepregister\n\ndef test_sum():\n    assert deepregister.total([1, 2]) == 3\n"
OTHERS = (
    "import deepregister, pytest\n\nclass TestOthers:\n    def test_nothing(self):\n        deepregister.total([])\n\n"
)
OTHERS += "def test_wrong():\n    assert False\n\n@pytest.mark.skip\ndef test_skipped():\n    pass\n"
WHOLE = Sabotage("sum", "A sum is a sum.", "less one", ENGINE, "sum(x)", "sum(x) - 1", ("test_a.py::test_sum",))


@pytest.mark.parametrize("each", SABOTAGES, ids=lambda each: each.name)
def test_a_sabotage_fits_the_checkout(each):
    assert sabotage.flaws(each) == []


def test_names_tell_them_apart():
    names = [each.name for each in SABOTAGES]
    assert len({*names}) == len(names) and not any(name.isdigit() for name in names)
    assert sabotage._chosen(["ledger", "1"]) == [each for each in SABOTAGES if each.name in ("dice", "ledger")]
    assert sabotage._chosen([]) == list(SABOTAGES)


@pytest.fixture
def checkout(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("a checkout is copied with git")
    folder = tmp_path / "mine"
    (folder / ENGINE).parent.mkdir(parents=True)
    (folder / ENGINE).write_text("def total(x): return sum(x)\n")
    (folder / "test_a.py").write_text(SUM)
    (folder / "test_b.py").write_text(OTHERS)
    (folder / "ignored.txt").write_text("")
    (folder / ".gitignore").write_text("ignored.txt\n")
    subprocess.run(["git", "init", "-q", folder], check=True)
    return folder


def test_what_is_noticed_is_told_from_what_is_not_and_the_checkout_stays_as_it_is(checkout):
    before = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    table = [
        WHOLE,
        replace(WHOLE, name="unseen", tests=("test_b.py::TestOthers",)),
        replace(WHOLE, name="wrong anyway", tests=("test_a.py::test_sum", "test_b.py::test_wrong")),
        replace(WHOLE, name="skipped", tests=("test_b.py::test_skipped",)),
        replace(WHOLE, name="no engine", new="sum(x", tests=("test_a.py::test_sum",)),
        replace(WHOLE, name="old", old="prod(x)"),
        replace(WHOLE, name="test gone", tests=("test_a.py::test_product", "test_c.py::test_sum")),
    ]
    findings = sabotage.commit(checkout, table)
    assert [findings[each.name].outcome for each in table] == [
        sabotage.NOTICED,
        sabotage.SURVIVED,
        sabotage.UNSOUND,
        sabotage.UNTRIED,
        sabotage.UNSOUND,
        sabotage.STALE,
        sabotage.STALE,
    ]
    assert findings["sum"].noticed_by == ("test_a.py::test_sum",) and findings["sum"].seconds > 0
    assert findings["wrong anyway"].detail == "with nothing broken there fails test_b.py::test_wrong"
    assert "holds 'prod(x)' 0 times" in findings["old"].detail
    assert "there is no test test_c.py::test_sum" in findings["test gone"].detail
    assert {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()} == before


def test_the_copy_holds_what_git_would_and_nothing_else_may_be_tested(checkout, tmp_path):
    (tmp_path / "work").mkdir()
    copy = sabotage.Copy(checkout, tmp_path / "work")
    assert not (copy.root / "ignored.txt").exists() and not (copy.root / ".git").exists()
    other = tmp_path / "other" / "deepregister"
    other.mkdir(parents=True)
    shutil.copy(checkout / ENGINE, other)
    (copy.root / "conftest.py").write_text(f"import sys\nsys.path.insert(0, {str(other.parent)!r})\n")
    with pytest.raises(RuntimeError, match="was tested, not the copy"):
        copy.test(["test_a.py"])


def test_the_exit_status_and_the_page_say_what_survived(checkout, tmp_path, monkeypatch):
    table = (WHOLE, replace(WHOLE, name="other", tests=("test_b.py::TestOthers",)))
    monkeypatch.setattr(sabotage, "SABOTAGES", table)
    monkeypatch.setattr(sabotage, "CHECKOUT", checkout)
    monkeypatch.setattr(sabotage, "RESULTS", tmp_path / "results")
    for only, status in (("sum", 0), ("2", 1)):
        monkeypatch.setattr(sys, "argv", ["sabotage.py", "--only", only])
        assert sabotage.main() == status
    page = (tmp_path / "results" / "sabotage.md").read_text(encoding="utf-8")
    assert "1 of 2 noticed." in page
    assert f"| A sum is a sum. | less one (`{ENGINE}`) | `test_a.py::test_sum` |" in page
    assert f"| A sum is a sum. | less one (`{ENGINE}`) | **SURVIVED** |" in page
    # What the second run left out is as the first one found it.
    assert "--only sum" in page and "--only 2" in page
