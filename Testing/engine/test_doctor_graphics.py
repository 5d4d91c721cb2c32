"""Whether torch fits card and driver: what torch tells, as real machines tell it, and programs that answer for them."""

import pytest
from deepregister.doctor.graphics import Driver, cards_without_driver, judge, nvidia_driver, supports
from deepregister.doctor.process import Outcome
from deepregister.doctor.requirements import TORCH
from deepregister.doctor.trials import judge_registration, judge_speed
from processes import posix

CPU = {
    "version": "2.9.1+cpu",
    "cuda": None,
    "hip": None,
    "cuda_available": False,
    "mps_built": False,
    "mps_available": False,
    "arrays": True,
}
CUDA = CPU | {"version": "2.9.1+cu128", "cuda": "12.8"}
WORKING = CUDA | {
    "cuda_available": True,
    "gpus": {"cuda:0": ["NVIDIA RTX A4000", 8, 6]},
    "built_for": ["sm_75", "sm_80", "sm_90", "sm_120", "compute_120"],
}
OLD_CARD = WORKING | {"gpus": {"cuda:0": ["NVIDIA GeForce GTX 1080", 6, 1]}}
APPLE = CPU | {"version": "2.9.1", "mps_built": True, "mps_available": True}
RTX = Driver(("NVIDIA RTX A4000",), "570.86.15", (12, 8))
OLD_DRIVER = Driver(("NVIDIA RTX A4000",), "470.82.01", (11, 4))
BROKEN_DRIVER = Driver(error="NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")

CASES = {
    "no card, torch for the processor": (CPU, None, "Linux", None),
    "no card, torch with CUDA": (CUDA, None, "Linux", None),
    "all fits": (WORKING, RTX, "Linux", None),
    "Apple, all fits": (APPLE, None, "Darwin", None),
    "torch for the processor beside a card": (CPU, RTX, "Windows", ("warning", "built for the processor alone")),
    "driver older than torch's CUDA": (CUDA, OLD_DRIVER, "Linux", ("warning", "470.82.01 knows CUDA 11.4 at most")),
    "CUDA that does not start": (
        CUDA | {"cuda_error": "RuntimeError: CUDA unknown error"},
        RTX,
        "Linux",
        ("warning", "CUDA unknown error"),
    ),
    "driver that does not answer": (CUDA, BROKEN_DRIVER, "Linux", ("warning", "couldn't communicate")),
    "card that torch was not built for": (OLD_CARD, RTX, "Linux", ("problem", "compute capability 6.1")),
    "Apple without a GPU": (APPLE | {"mps_available": False}, None, "Darwin", ("warning", "12.3")),
    "numpy that torch cannot use": (CPU | {"arrays": False}, None, "Linux", ("problem", "with this numpy")),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_said_with_its_cure(case, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    torch, driver, system, expected = CASES[case]
    found = judge(torch, TORCH, driver, system=system)
    if expected is None:
        assert found == []
        return
    (finding,) = found
    status, words = expected
    assert finding.status == status
    assert words in finding.text
    if case != "Apple without a GPU":
        assert finding.mend


def test_an_old_driver_is_to_be_updated_or_another_torch_installed(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (finding,) = judge(CUDA, TORCH, OLD_DRIVER, system="Linux")
    assert finding.mend[0].startswith("Update NVIDIA's driver to 525 or later")
    assert any("light_the_torch install --force-reinstall 'torch>=2.4'" in line for line in finding.mend) or any(
        'light_the_torch install --force-reinstall "torch>=2.4"' in line for line in finding.mend
    )


def test_a_card_hidden_by_a_variable_is_told(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    (finding,) = judge(CUDA, TORCH, RTX, system="Linux")
    assert "CUDA_VISIBLE_DEVICES='-1' hides it" in finding.text
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "hides" not in judge(CUDA, TORCH, RTX, system="Linux")[0].text


@pytest.mark.parametrize(
    ("built_for", "capability", "runs"),
    [
        (["sm_80", "sm_90"], (8, 6), True),
        (["sm_80", "sm_90"], (8, 0), True),
        (["sm_86"], (8, 0), False),
        (["sm_80", "sm_90"], (7, 5), False),
        (["sm_80", "sm_90"], (10, 0), False),
        (["sm_80", "compute_90"], (10, 0), True),
        (["sm_80", "compute_90"], (8, 9), True),
        (["compute_90"], (8, 9), False),
        (["sm_90a"], (9, 0), True),
        (["sm_100", "sm_120"], (12, 0), True),
        ([], (9, 0), False),
    ],
)
def test_capabilities(built_for, capability, runs):
    assert supports(built_for, *capability) is runs


def put_program(folder, text):
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


@posix
def test_nvidias_program_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    put_program(
        tmp_path,
        'if [ $# -gt 0 ]; then echo "Tesla T4, 535.104.05"; echo "NVIDIA RTX A4000, 535.104.05"; else\n'
        'echo "| NVIDIA-SMI 535.104.05   Driver Version: 535.104.05   CUDA Version: 12.2     |"; fi',
    )
    assert nvidia_driver() == Driver(("Tesla T4", "NVIDIA RTX A4000"), "535.104.05", (12, 2))
    put_program(tmp_path, f'echo "{BROKEN_DRIVER.error}"; exit 9')
    assert nvidia_driver() == BROKEN_DRIVER
    (tmp_path / "nvidia-smi").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_driver() is None


def test_a_card_without_a_driver_is_seen_on_the_bus(tmp_path):
    for name, vendor, kind in (
        ("00:01.0", "0x10de", "0x030000"),
        ("00:01.1", "0x10de", "0x040300"),
        ("2", "0x8086", ""),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    # The second is the card's sound.
    assert cards_without_driver(tmp_path) == 1
    assert cards_without_driver(tmp_path / "none") == 0
    (finding,) = judge(CUDA, TORCH, None, cards=1, system="Linux")
    assert "no driver" in finding.text and finding.status == "warning"


MEASURED = {"title": "Tesla T4 (cuda:0)", "memory_free_bytes": 15_000_000_000, "agrees": True, "milliseconds": 4.0}


def test_a_device_is_compared_with_the_processor():
    finding = judge_speed("cuda:0", Outcome(MEASURED, None), 100.0)
    assert finding.status == "ok"
    assert "in 4 ms, 25 times as fast as the processor; 15.0 GB of memory free" in finding.text
    assert judge_speed("cpu", Outcome(MEASURED | {"memory_free_bytes": None}, None)).facts["times_cpu"] is None


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(MEASURED | {"agrees": False}, None), "computes other values"),
        (Outcome({"title": "Tesla T4 (cuda:0)"}, "RuntimeError: no kernel image is available"), "no kernel image"),
        (Outcome({}, "It did not end within 120 s."), "did not end"),
    ],
)
def test_a_device_that_cannot_compute_is_a_problem(outcome, words):
    finding = judge_speed("cuda:0", outcome, 100.0)
    assert finding.status == "problem"
    assert words in finding.text
    assert finding.mend[0] == "Until it is mended choose the device cpu."


def test_a_registration_that_comes_out_wrong_is_a_problem():
    hello = {"version": "0.1.0", "python": "3.12.1"}
    values = {"hello": hello, "load_seconds": 3.0, "seconds": 1.0, "device": "CPU, 2 threads", "error_mm": 0.02}
    assert judge_registration(Outcome(values, None)).status == "ok"
    assert "wrong by 7.0 mm" in judge_registration(Outcome(values | {"error_mm": 7.0}, None)).text
    for told in ({}, {"hello": hello}):
        assert judge_registration(Outcome(told, "WorkerError: it died")).status == "problem"
