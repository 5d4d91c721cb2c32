"""Break each promise on purpose, in a copy of the checkout, and see whether the tests that guard it notice.

    python Testing/robustness/sabotage.py                       # all of sabotages.py, some ten minutes
    python Testing/robustness/sabotage.py --only ledger 3       # by name, or by the number that --list shows

writes results/sabotage.json and results/sabotage.md; what is left out keeps what an earlier run of it found. First the
tests run with nothing broken and must pass; then one sabotage at a time is put in, its tests run, and it is taken out
again. The exit status is 1 where a sabotage was not noticed, or could not be judged: its text or one of its tests is
not there any more, or its tests fail anyway. The checkout is never changed. POSIX systems alone.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
RESULTS = HERE / "results"
sys.path[:0] = [str(CHECKOUT / "DeepRegister"), str(CHECKOUT / "Testing" / "benchmarks"), str(HERE)]

from measured import measure  # noqa: E402
from publishing import made, made_in_words, table, tell  # noqa: E402
from sabotages import SABOTAGES, Sabotage  # noqa: E402

# Of one test, of all with nothing broken, and of those of one sabotage: what is broken may hang, and its tests with it.
TEST_SECONDS, WHOLE_SECONDS, BROKEN_SECONDS = 180, 3600, 600
NOTICED, SURVIVED, UNTRIED = "noticed", "SURVIVED", "not tried here"
# Neither noticed nor survived: nothing can be said.
STALE, UNSOUND = "STALE", "UNSOUND"


@dataclass(frozen=True)
class Finding:
    """What became of a sabotage.

    Attributes:
        outcome: "noticed"; "SURVIVED"; "not tried here", where this system skips its tests; "STALE", where its text or
            a test is not there any more; "UNSOUND", where its tests fail anyway or do not run to the end.
        noticed_by: the tests that failed.
        seconds: that its tests took, with the start of pytest.
        detail: why nothing can be said.
    """

    outcome: str
    noticed_by: tuple[str, ...] = ()
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class Session:
    """What a run of pytest found: names of tests; `broken` are files that cannot be imported, or no report at all."""

    seconds: float = 0.0
    passed: Sequence[str] = ()
    failed: Sequence[str] = ()
    skipped: Sequence[str] = ()
    broken: Sequence[str] = field(default=())


class Copy:
    """A copy of a checkout that may be broken.

    Args:
        checkout: what git knows of it is copied, with the changes that are not committed, and new files.
        folder: empty; also for all that tests leave.
    """

    def __init__(self, checkout: Path, folder: Path):
        self.root = folder / "checkout"
        self._temporary = folder / "temporary"
        self._temporary.mkdir()
        listed = ["git", "-C", checkout, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in set(subprocess.run(listed, capture_output=True, check=True).stdout.decode().split("\0")) - {""}:
            # One that was deleted is still listed.
            if (checkout / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(checkout / name, self.root / name)

    def test(self, tests: Iterable[str], limit: float = WHOLE_SECONDS) -> Session:
        """Run these tests in the copy, with nothing of the checkout, for `limit` seconds at most.

        Raises:
            RuntimeError: it was not the copy that was tested.
        """
        report = self._temporary / "witness.json"
        report.unlink(missing_ok=True)
        options = ["-q", "-p", "witness", "-p", "no:cacheprovider", f"--timeout={TEST_SECONDS}"]
        environment = {
            "PYTHONPATH": os.pathsep.join([str(self.root / "DeepRegister"), str(HERE)]),
            # Of two texts of one length, written within a second, Python takes the bytecode of the first.
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_ADDOPTS": None,
            "QT_QPA_PLATFORM": "offscreen",
            "TMPDIR": str(self._temporary),
            "WITNESS": str(report),
        }
        # It ends what a broken worker leaves running.
        usage = measure(
            [sys.executable, "-m", "pytest", *options, *tests],
            "",
            self.root / "pytest.log",
            limit=limit,
            threads=1,
            environment=environment,
        )
        if not report.exists():
            words = (self.root / "pytest.log").read_text(encoding="utf-8", errors="replace").split("\n")
            return Session(usage.seconds, broken=["\n".join(words[-10:])])
        found = json.loads(report.read_text(encoding="utf-8"))
        engine = found.pop("engine")
        if not Path(engine).is_relative_to(self.root):
            raise RuntimeError(f"{engine} was tested, not the copy in {self.root}.")
        return Session(usage.seconds, **found)

    def broken(self, sabotage: Sabotage) -> Session:
        """Run its tests with a sabotage put in, and take it out again."""
        file = self.root / sabotage.file
        whole = file.read_text(encoding="utf-8")
        file.write_text(whole.replace(sabotage.old, sabotage.new), encoding="utf-8")
        try:
            return self.test(sabotage.tests, BROKEN_SECONDS)
        finally:
            file.write_text(whole, encoding="utf-8")


def flaws(sabotage: Sabotage, checkout: Path = CHECKOUT) -> list[str]:
    """Why a sabotage does not fit a checkout any more; empty where it does. Runs nothing."""
    found = []
    file = checkout / sabotage.file
    count = file.read_text(encoding="utf-8").count(sabotage.old) if file.exists() else 0
    if count != 1:
        found.append(f"{sabotage.file} holds {sabotage.old!r} {count} times")
    if sabotage.old == sabotage.new:
        found.append("it changes nothing")
    return found + [f"there is no test {test}" for test in sabotage.tests if not _is_test(test, checkout)]


def _is_test(name: str, checkout: Path) -> bool:
    """Whether a file has such a test, or class of tests."""
    path, *parts = name.split("[")[0].split("::")
    if not (checkout / path).exists() or not parts:
        return False
    body = ast.parse((checkout / path).read_text(encoding="utf-8")).body
    for part in parts:
        named = [node for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == part]
        if not named:
            return False
        body = named[-1].body
    return True


def commit(
    checkout: Path, sabotages: Sequence[Sabotage], told: Callable[[str], None] = lambda line: None
) -> dict[str, Finding]:
    """Commit sabotages in a copy of a checkout, one after the other; what became of each, by name."""
    findings = {each.name: Finding(STALE, detail="; ".join(flaws(each, checkout))) for each in sabotages}
    fit = [each for each in sabotages if not findings[each.name].detail]
    with tempfile.TemporaryDirectory(prefix="sabotage-") as folder:
        copy = Copy(checkout, Path(folder).resolve())
        whole = copy.test(dict.fromkeys(test for each in fit for test in each.tests)) if fit else Session()
        told(f"unbroken: {len(whole.passed)} passed, {len(whole.failed)} failed in {whole.seconds:.0f} s")
        for each in fit:
            findings[each.name] = _doubt(each, whole) or _judged(copy.broken(each))
            told(f"{each.name}: {findings[each.name].outcome} in {findings[each.name].seconds:.0f} s")
    return findings


def _doubt(sabotage: Sabotage, whole: Session) -> Finding | None:
    """Why its tests can say nothing, by what they did with nothing broken; None where they can."""
    if whole.broken:
        return Finding(UNSOUND, detail=f"with nothing broken: {'; '.join(whole.broken)}")
    if failed := _among(whole.failed, sabotage.tests):
        return Finding(UNSOUND, detail=f"with nothing broken there fails {', '.join(failed)}")
    if not _among(whole.passed, sabotage.tests):
        return Finding(UNTRIED, detail=f"skipped: {', '.join(_among(whole.skipped, sabotage.tests))}")
    return None


def _judged(session: Session) -> Finding:
    if session.broken:
        return Finding(UNSOUND, seconds=session.seconds, detail="; ".join(session.broken))
    outcome = NOTICED if session.failed else SURVIVED
    return Finding(outcome, tuple(session.failed), session.seconds)


def _among(names: Iterable[str], tests: Sequence[str]) -> list[str]:
    """Those that belong to `tests`, which may be classes, or have parameters."""
    return [name for name in names if any(name == test or name.startswith((f"{test}::", f"{test}[")) for test in tests)]


def report(rows: Sequence[dict]) -> str:
    """The page of results in Markdown."""
    lines = ["# Sabotage: each promise broken on purpose, and the tests that noticed", ""]
    lines += ["Made by `Testing/robustness/sabotage.py`, from the table in `sabotages.py`; see the README there.", ""]
    lines += [*dict.fromkeys(made_in_words(row["made"]) for row in rows), ""]
    noticed = sum(row["outcome"] == NOTICED for row in rows)
    lines += [f"{noticed} of {len(rows)} noticed.", ""]
    names = ("promise", "what was broken", "tests that noticed", "s")
    return "\n".join([*lines, *table(names, map(_cells, rows))]) + "\n"


def _cells(row: dict) -> tuple[str, ...]:
    tests = "<br>".join(f"`{name}`" for name in _without_parameters(row["noticed_by"]))
    said = tests if row["outcome"] == NOTICED else f"**{row['outcome']}** {row['detail']}".strip().replace("\n", " ")
    return row["promise"], f"{row['breaks']} (`{row['file']}`)", said.replace("|", "\\|"), f"{row['seconds']:.0f}"


def _without_parameters(names: Iterable[str]) -> list[str]:
    """Each test once, how often it failed behind it, without the folder of its file."""
    tests = [name.split("[")[0].rpartition("/")[2] for name in names]
    return [f"{test} ({tests.count(test)})" if tests.count(test) > 1 else test for test in dict.fromkeys(tests)]


def _chosen(words: Sequence[str]) -> list[Sabotage]:
    """By names and numbers.

    Raises:
        KeyError: there is none of that name or number.
    """
    known = {key: each for number, each in enumerate(SABOTAGES, 1) for key in (str(number), each.name)}
    names = {known[word].name for word in words}
    return [each for each in SABOTAGES if not words or each.name in names]


def _published(findings: dict[str, Finding]) -> list[dict]:
    """The new rows among those of an earlier run, in the order of the table."""
    file = RESULTS / "sabotage.json"
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    rows = {row["name"]: row for row in earlier}
    how = made("Testing/robustness/sabotage.py")
    for each in SABOTAGES:
        if each.name in findings:
            rows[each.name] = {
                **{key: getattr(each, key) for key in ("name", "promise", "breaks", "file", "old", "new")},
                "tests": list(each.tests),
                **{**vars(findings[each.name]), "noticed_by": list(findings[each.name].noticed_by)},
                "seconds": round(findings[each.name].seconds, 1),
                "made": how,
            }
    return [rows[each.name] for each in SABOTAGES if each.name in rows]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="names or numbers; default: all")
    parser.add_argument("--list", action="store_true", help="say what there is, and do nothing")
    options = parser.parse_args()
    try:
        chosen = _chosen(options.only)
    except KeyError as error:
        parser.error(f"there is no sabotage {error}; --list shows all")
    if options.list:
        for number, each in enumerate(SABOTAGES, 1):
            print(f"{number:2} {each.name:18} {each.promise} Broken: {each.breaks}.")
        return 0
    findings = commit(CHECKOUT, chosen, tell)
    rows = _published(findings)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sabotage.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    (RESULTS / "sabotage.md").write_text(report(rows), encoding="utf-8")
    return 0 if all(finding.outcome in (NOTICED, UNTRIED) for finding in findings.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
