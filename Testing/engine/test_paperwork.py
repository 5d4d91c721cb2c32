"""Files that the worker writes: the same as this process writes, and its errors come back."""

import numpy as np
import pydicom
import pytest
from deepregister import Rigid, Settings, Volume
from deepregister.client import EngineClient
from deepregister.errors import FileError, InputError
from deepregister.page import write_page
from deepregister.paperwork import write
from deepregister.result import Registration


@pytest.fixture(scope="module")
def client():
    with EngineClient() as engine:
        yield engine


def volumes():
    noise = np.random.default_rng(0).normal(size=(2, 12, 14, 16)).astype(np.float32)
    return [Volume.from_array(data, name=name) for data, name in zip(noise, ("CT", "MR"), strict=True)]


def test_the_worker_writes_the_same_page(client, tmp_path):
    fixed, moving = volumes()
    result = Registration(
        Rigid.identity(),
        Rigid.identity(),
        moving,
        Settings(model="rigid"),
        {"similarity_after": 0.5},
        {"deform": 1.0},
        "CPU",
    )
    job = client.write("page", tmp_path / "worker.html", registration=result, fixed=fixed, moving=moving)
    assert job.wait() == [str(tmp_path / "worker.html")]
    write_page(tmp_path / "here.html", result, fixed, moving)
    assert (tmp_path / "worker.html").read_text(encoding="utf-8") == (tmp_path / "here.html").read_text(
        encoding="utf-8"
    )


def test_the_worker_writes_dicom_and_says_what_is_wrong(client, tmp_path):
    fixed, _ = volumes()
    seen = []
    job = client.write("dicom", tmp_path / "series", volume=fixed, tags={"PatientID": "P7"}, window=(5.0, 1.0))
    files = job.wait(lambda report: seen.append(report.message))
    assert len(files) == 12 and {pydicom.dcmread(file).PatientID for file in files} == {"P7"}
    assert seen == ["Writing the DICOM series"]
    with pytest.raises(FileError, match="holds files already"):
        client.write("dicom", tmp_path / "series", volume=fixed).wait()


def test_nothing_else_is_written():
    with pytest.raises(InputError, match="'letter' cannot be written"):
        write("letter", {})
