"""A plugin of pytest, `-p witness`: writes what became of each test, and which engine was tested, to a file.

The file is named by the environment variable `WITNESS`; pytest has it as JSON at the end of its session.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

seen: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": [], "broken": []}


def pytest_runtest_logreport(report) -> None:
    """A test counts once: as failed if any part of it failed."""
    if report.failed:
        if report.nodeid not in seen["failed"]:
            seen["failed"].append(report.nodeid)
    elif report.skipped:
        seen["skipped"].append(report.nodeid)
    elif report.when == "call":
        seen["passed"].append(report.nodeid)


def pytest_collectreport(report) -> None:
    """A file that cannot even be imported has tested nothing."""
    if report.failed:
        seen["broken"].append(report.nodeid)
    elif report.skipped:
        seen["skipped"].append(report.nodeid)


def pytest_sessionfinish() -> None:
    """Ask last, when all that tests do to the path is done."""
    import deepregister

    found = {**seen, "engine": deepregister.__file__}
    Path(os.environ["WITNESS"]).write_text(json.dumps(found), encoding="utf-8")
