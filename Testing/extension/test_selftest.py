"""`DeepRegisterTest`, the test that Slicer runs, in the Qt host: its body works; Slicer itself is still to be seen."""

import unittest
from pathlib import Path

import pytest
from headless_slicer import HeadlessSlicer
from qt_host.host import Host

MODULE = Path(__file__).resolve().parents[2] / "DeepRegister" / "DeepRegister.py"


@pytest.fixture(scope="module")
def module():
    """The module file with its widget open, as in Slicer when its tests are run."""
    slicer_without_application = HeadlessSlicer()
    host = Host()
    loaded = host.load(MODULE)
    widget = host.open(loaded)
    yield loaded
    host.close(widget)
    slicer_without_application.close()
    host.check()


RUN_HERE = ["test_cancel", "test_direction", "test_panel", "test_saveAndReload", "test_workerDeath"]
# Needs the network and Slicer's Sample Data module.
ONLY_IN_SLICER = ["test_samplePair"]


@pytest.mark.parametrize("name", RUN_HERE)
def test_self_test(module, name):
    result = unittest.TestResult()
    module.DeepRegisterTest(name).run(result)
    assert result.testsRun == 1
    assert not result.skipped
    problems = [trace for _, trace in result.errors + result.failures]
    assert not problems, problems[0]


def test_nothing_else_is_left_out(module):
    assert unittest.TestLoader().getTestCaseNames(module.DeepRegisterTest) == sorted(RUN_HERE + ONLY_IN_SLICER)
