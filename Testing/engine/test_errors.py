"""One base class, texts that travel unchanged, and `ValueError` for what the caller gave wrongly."""

import pickle

import pytest
from deepregister import errors

KINDS = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_the_base_and_keeps_its_text(kind):
    error = kind("The spacing is 0. Correct the header.")
    assert isinstance(error, errors.DeepRegisterError)
    assert str(error) == "The spacing is 0. Correct the header."
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)


@pytest.mark.parametrize("kind", [errors.GeometryError, errors.TransformError, errors.FileError])
def test_what_the_caller_gave_wrongly_is_an_input_error(kind):
    assert issubclass(kind, errors.InputError)
    assert issubclass(kind, ValueError)


@pytest.mark.parametrize("kind", [errors.Cancelled, errors.WorkerError, errors.ResourceError, errors.DeviceError])
def test_what_happened_on_the_way_is_no_input_error(kind):
    assert not issubclass(kind, ValueError)


def test_cancelled_says_that_nothing_changed():
    assert str(errors.Cancelled()) == "Cancelled: nothing was changed."
