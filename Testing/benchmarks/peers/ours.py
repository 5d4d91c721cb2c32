"""DeepRegister, as a method among the others: from the files to transform, inverse and measures."""

from _jobs import run
from deepregister import Settings, register
from deepregister.models.registry import find_model


def method(job, folder):
    """One registration with the job's settings."""
    settings = Settings(**{"device": "cpu", "threads": job["threads"], **job["settings"]})
    result = register(job["fixed"], job["moving"], settings=settings)
    result.transform.write(folder / "transform.h5")
    result.inverse.write(folder / "inverse.h5")
    told = {"stages": {stage: round(seconds, 3) for stage, seconds in result.seconds.items()}}
    if settings.model != "auto" and find_model(result.settings.model).learned:
        told["network_seconds"] = result.seconds["deform"]
    return told


run(method, ())
