"""PyTorch is looked for without importing it, installed only when asked, and never behind the user's back."""

import platform
import sys
import types

import pytest
import slicer
from DeepRegisterLib.panel import installation


@pytest.fixture
def missing(monkeypatch):
    """A Slicer without PyTorch, whose extension installs it; the list of what that was asked for."""
    asked = []
    found = {"version": None}

    class PyTorchUtilsLogic:
        def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
            asked.append(torchVersionRequirement)
            found["version"] = "2.9.1"

    monkeypatch.setattr(installation, "torchVersion", lambda: found["version"])
    extension = types.ModuleType("PyTorchUtils")
    extension.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    return asked


@pytest.fixture
def answers(monkeypatch):
    """What the user answers, and the questions that were put."""
    given = {"install": False, "restart": False, "questions": [], "restarted": False}

    def confirm(answer):
        def ask(text, *unused, **options):
            given["questions"].append(text)
            return given[answer]

        return ask

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", confirm("install"))
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", confirm("restart"))
    monkeypatch.setattr(slicer.util, "restart", lambda: given.update(restarted=True))
    return given


@pytest.mark.parametrize(
    ("version", "usable"), [(None, False), ("2.3.1", False), ("2.4.0+cpu", True), ("2.13.0", True), ("dev", False)]
)
def test_versions(version, usable):
    assert installation.isUsable(version) is usable


def test_the_requirement_keeps_windows_below_its_path_limit(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    assert installation.requirement() == ">=2.4,<2.13"
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert installation.requirement() == ">=2.4"


def test_opening_asks_nothing(missing, answers, panel, pair):
    assert answers["questions"] == []


def test_declined_nothing_is_installed_and_the_command_is_shown(missing, answers, panel, pair):
    panel.attach()
    panel.ui.runButton.click()
    assert len(answers["questions"]) == 1
    assert missing == []
    assert not panel.running
    assert installation.command() in panel.ui.errorLabel.text
    assert "--no-index --find-links" in panel.ui.errorLabel.text


def test_while_slicer_is_tested_nothing_is_installed(missing, answers, panel, pair, monkeypatch):
    monkeypatch.setattr(type(slicer.app), "testingEnabled", lambda self: True)
    answers["install"] = True
    panel.attach()
    panel.ui.runButton.click()
    assert missing == []
    assert installation.command() in panel.ui.errorLabel.text


def test_accepted_it_is_installed_once_and_the_run_goes_on(missing, answers, qt_host, panel, pair):
    answers["install"] = True
    panel.attach()
    panel.ui.modelSelector.currentIndex = panel.ui.modelSelector.findData("rigid")
    panel.ui.runButton.click()
    assert missing == [installation.requirement()]
    assert panel.running
    assert len(answers["questions"]) == 2
    panel.ui.runButton.click()
    qt_host.wait(lambda: not panel.running)
    panel.ui.runButton.click()
    assert len(answers["questions"]) == 2
    panel.ui.runButton.click()
    qt_host.wait(lambda: not panel.running)


def test_a_restart_that_is_wanted_comes_before_the_run(missing, answers, panel, pair):
    answers.update(install=True, restart=True)
    panel.attach()
    panel.ui.runButton.click()
    assert answers["restarted"]
    assert not panel.running


def test_without_the_extension_the_user_is_told_what_to_do(missing, answers, panel, pair, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    answers["install"] = True
    panel.attach()
    panel.ui.runButton.click()
    assert "Extensions Manager" in panel.ui.errorLabel.text
    assert panel.ui.runButton.enabled


def test_what_pip_says_is_passed_on(missing, answers, panel, pair, monkeypatch):
    def fail(self, **unused):
        raise RuntimeError("no space left on device")

    monkeypatch.setattr(sys.modules["PyTorchUtils"].PyTorchUtilsLogic, "installTorch", fail)
    answers["install"] = True
    panel.attach()
    panel.ui.runButton.click()
    assert "no space left on device" in panel.ui.errorLabel.text
    assert installation.command() in panel.ui.errorLabel.text
