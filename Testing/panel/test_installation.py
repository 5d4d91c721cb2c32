"""PyTorch is looked for without importing it, installed only when asked, and never behind the user's back."""

import platform
import sys
import types

import pytest
import qt
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
def pip(missing, monkeypatch):
    """What pip was asked to install; it does so at once. Not in the package `slicer-core`: Slicer has it."""
    asked = []

    def pip_install(requirements):
        asked.append(requirements)
        monkeypatch.setattr(installation, "torchVersion", lambda: "2.9.1")

    monkeypatch.setattr(slicer.util, "pip_install", pip_install)
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
    panel.run.ui.runButton.click()
    assert len(answers["questions"]) == 1
    assert missing == []
    assert not panel.running
    assert installation.command() in panel.run.ui.errorLabel.text
    assert "--no-index --find-links" in panel.run.ui.errorLabel.text


def test_while_slicer_is_tested_nothing_is_installed(missing, answers, panel, pair, monkeypatch):
    monkeypatch.setattr(type(slicer.app), "testingEnabled", lambda self: True)
    answers["install"] = True
    panel.attach()
    panel.run.ui.runButton.click()
    assert missing == []
    assert installation.command() in panel.run.ui.errorLabel.text


def test_accepted_it_is_installed_once_and_the_run_goes_on(missing, answers, qt_host, panel, pair):
    answers["install"] = True
    panel.attach()
    panel.choose.ui.modelSelector.currentIndex = panel.choose.ui.modelSelector.findData("rigid")
    panel.run.ui.runButton.click()
    assert missing == [installation.requirement()]
    assert panel.running
    assert len(answers["questions"]) == 2
    panel.run.ui.runButton.click()
    qt_host.wait(lambda: not panel.running)
    panel.run.ui.runButton.click()
    assert len(answers["questions"]) == 2
    panel.run.ui.runButton.click()
    qt_host.wait(lambda: not panel.running)


def test_a_restart_that_is_wanted_comes_before_the_run(missing, answers, panel, pair):
    answers.update(install=True, restart=True)
    panel.attach()
    panel.run.ui.runButton.click()
    assert answers["restarted"]
    assert not panel.running


def test_without_the_extension_pip_installs_it(missing, answers, panel, pair, monkeypatch, pip):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    answers["install"] = True
    panel.attach()
    panel.choose.ui.modelSelector.currentIndex = panel.choose.ui.modelSelector.findData("rigid")
    panel.run.ui.runButton.click()
    assert pip == [[f"torch{installation.requirement()}"]]
    assert panel.running
    assert panel.run.ui.errorLabel.text == ""


def test_without_rights_the_user_gets_the_command(missing, answers, panel, pair, monkeypatch, pip):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)

    def refuse(requirements):
        raise PermissionError(13, "Permission denied", "site-packages")

    monkeypatch.setattr(slicer.util, "pip_install", refuse)
    answers["install"] = True
    panel.attach()
    panel.run.ui.runButton.click()
    assert "Permission denied" in panel.run.ui.errorLabel.text
    assert installation.command() in panel.run.ui.errorLabel.text
    assert panel.run.ui.runButton.enabled
    assert not panel.running


def test_a_proxy_that_is_set_is_named_and_used(missing, answers, panel, pair, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://me:secret@proxy.clinic:3128")
    panel.attach()
    panel.run.ui.runButton.click()
    assert "through the proxy http://USER:PASSWORD@proxy.clinic:3128" in answers["questions"][0]
    assert "--proxy" in panel.run.ui.errorLabel.text
    assert "secret" not in panel.run.ui.errorLabel.text + answers["questions"][0]


def test_the_question_says_what_and_how_much(missing, answers, panel, pair):
    panel.attach()
    panel.run.ui.runButton.click()
    (question,) = answers["questions"]
    assert f"PyTorch (version {installation.requirement()}), which is not installed" in question
    assert "GB" in question


def test_from_a_folder_of_wheels(missing, panel, pip, monkeypatch, tmp_path):
    folder = tmp_path / "wheels from Anna"
    folder.mkdir()
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *unused: str(folder))
    ui = panel.checkup.ui
    panel.checkup.open()
    assert ui.torchLabel.text == "PyTorch is not installed in this Slicer."
    ui.wheelsButton.click()
    assert pip == []
    assert "holds no wheel of PyTorch" in panel.run.ui.errorLabel.text
    assert "pip download" in panel.run.ui.errorLabel.text
    (folder / "torch-2.9.1-cp312-cp312-linux_x86_64.whl").touch()
    ui.wheelsButton.click()
    assert pip == [[f"torch{installation.requirement()}", "--no-index", "--find-links", str(folder)]]
    assert panel.run.ui.errorLabel.text == ""
    assert ui.torchLabel.text == "PyTorch 2.9.1 is installed."
    # Nobody chose a folder.
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *unused: "")
    ui.wheelsButton.click()
    assert len(pip) == 1


def test_declined_the_section_for_it_opens(missing, answers, panel, pair):
    panel.attach()
    assert panel.checkup.ui.checkupButton.collapsed
    panel.run.ui.runButton.click()
    assert not panel.checkup.ui.checkupButton.collapsed
    panel.checkup.ui.installButton.click()
    assert len(answers["questions"]) == 2
    answers["install"] = True
    panel.checkup.ui.installButton.click()
    assert missing == [installation.requirement()]


def test_a_check_runs_in_the_background(qt_host, panel, module):
    ui = panel.checkup.ui
    panel.checkup.open()
    ui.checkButton.click()
    assert panel.checkup.checking
    assert ui.checkButton.text == "Stop the check"
    assert "Checking" in ui.checkText.plainText
    assert not ui.copyCheckButton.visible
    qt_host.wait(lambda: not panel.checkup.checking, 300)
    text = ui.checkText.plainText
    assert "PyTorch" in text or "torch" in text
    assert "--no-index" in text
    ui.copyCheckButton.click()
    assert slicer.app.clipboard().text() == text


def test_a_check_can_be_stopped_and_ends_with_the_panel(qt_host, module):
    opened = qt_host.open(module)
    checkup = opened.panel.checkup
    checkup.open()
    checkup.ui.checkButton.click()
    first = checkup._diagnosis
    checkup.ui.checkButton.click()
    assert not checkup.checking
    assert first.done
    assert checkup.ui.checkButton.text == "Check my installation"
    checkup.ui.checkButton.click()
    second = checkup._diagnosis
    qt_host.close(opened)
    assert second.done


def test_what_pip_says_is_passed_on(missing, answers, panel, pair, monkeypatch):
    def fail(self, **unused):
        raise RuntimeError("no space left on device")

    monkeypatch.setattr(sys.modules["PyTorchUtils"].PyTorchUtilsLogic, "installTorch", fail)
    answers["install"] = True
    panel.attach()
    panel.run.ui.runButton.click()
    assert "no space left on device" in panel.run.ui.errorLabel.text
    assert installation.command() in panel.run.ui.errorLabel.text
