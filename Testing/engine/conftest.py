"""What the tests that start worker processes share."""

import sys
import tempfile

import numpy as np
import pytest
from deepregister import Volume
from deepregister.client import EngineClient


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The folder in which this test's temporary folders are made, by the client and by child processes."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def client_of(tmp_path, folders):
    """Makes clients of a worker script, or of the engine's own worker; ends them after the test."""
    clients = []

    def make(script=None, **options):
        command = None
        if script is not None:
            file = tmp_path / f"worker_{len(clients)}.py"
            file.write_text(script, encoding="utf-8")
            command = [sys.executable, "-u", str(file)]
        clients.append(EngineClient(command, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.shutdown()


@pytest.fixture(scope="session")
def small():
    """A volume for worker scripts that do not look at it."""
    return Volume.from_array(np.zeros((6, 7, 8), np.float32), name="small volume")
