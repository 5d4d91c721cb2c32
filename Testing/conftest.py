"""What all tests share: the checkout's packages on the path, the same Hypothesis examples in every run, real images."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# As the engine does where it loads torch itself: tests share the machine with the processes they start.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

_CHECKOUT = Path(__file__).resolve().parents[1]

for _folder in (_CHECKOUT / "DeepRegister", _CHECKOUT / "Testing"):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

# The suite must never fail by chance.
settings.register_profile("deterministic", derandomize=True, deadline=None, print_blob=False)
settings.load_profile("deterministic")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the checkout; its README says what is in it. Not part of the project."""
    folder = _CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no folder shared/data with real images beside the checkout")
    return folder
