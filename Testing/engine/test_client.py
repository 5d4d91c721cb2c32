"""The client against real worker processes: what comes back from a run, and every way in which one can end."""

import ctypes
import os
import signal
import time
from dataclasses import replace

import deepregister
import numpy as np
import pytest
from deepregister import Affine, Settings, Volume
from deepregister.client import EngineClient
from deepregister.errors import Cancelled, InputError, ModelError, ResourceError, WorkerError
from deepregister.landmarks import LandmarkPairs
from processes import (
    DEAF,
    DYING,
    DYING_ONCE,
    ENDLESS,
    FAULTY,
    HELD_OPEN,
    PATIENCE_SECONDS,
    alive,
    first_report,
    posix,
    run_script,
    wait_until,
)
from scipy.ndimage import gaussian_filter
from toymodels import toy_model

SETTINGS = Settings(model="affine", quality="fast", device="cpu", threads=1)


@pytest.fixture(scope="module")
def engine():
    """One client of the real engine for all tests that leave its worker alive."""
    with EngineClient(environment={"OMP_NUM_THREADS": "1"}) as client:
        yield client


@pytest.fixture(scope="module")
def pair():
    """A smooth random volume and itself shifted by (3, -2, 1) mm: fixed points x lie at x + shift in moving."""
    data = gaussian_filter(np.random.default_rng(0).normal(size=(26, 28, 30)), 2)
    data = (1000 * (data - data.min()) / np.ptp(data)).astype(np.float32)
    spacing = (3.0, 3.0, 3.5)
    fixed = Volume.from_array(data, spacing, (10.0, 20.0, 30.0), name="fixed volume")
    return fixed, Volume.from_array(data, spacing, (13.0, 18.0, 31.0), name="moving volume")


def test_a_run_gives_what_the_engine_gives_in_this_process(engine, pair):
    reports = []
    registration = engine.register(*pair, SETTINGS, progress=reports.append)
    shift = registration.transform.apply_to_points(pair[0].geometry.centre) - pair[0].geometry.centre
    np.testing.assert_allclose(shift, (3, -2, 1), atol=0.5)
    here = deepregister.register(*pair, settings=SETTINGS)
    np.testing.assert_allclose(registration.transform.matrix, here.transform.matrix, atol=1e-6)
    np.testing.assert_allclose(registration.registered.data, here.registered.data, atol=1e-2)
    assert registration.registered.geometry == pair[0].geometry
    assert registration.settings == here.settings
    assert set(registration.measures) == set(here.measures)
    assert reports
    assert [report.fraction for report in reports] == sorted(report.fraction for report in reports)


def test_a_model_of_another_folder_runs_and_is_kept_warm(engine, pair, tmp_path, monkeypatch):
    card = toy_model(tmp_path / "models" / "toy", voxels=1.0)
    monkeypatch.chdir(tmp_path)
    settings = replace(SETTINGS, model="toy", quality="fast")
    # A path from here: the worker stands elsewhere.
    first, again = (engine.register(*pair, settings, models_dir="models") for _ in range(2))
    assert first.settings.model == "toy" and first.inputs["weights_sha256"] == card.sha256
    assert np.array_equal(first.transform.parts[0].displacement, again.transform.parts[0].displacement)
    with pytest.raises(ModelError, match="There is no model 'toy'"):
        engine.register(*pair, settings)


def test_all_inputs_reach_the_engine(engine, pair):
    fixed, moving = pair
    mask = Volume(np.ones(fixed.data.shape, np.uint8), fixed.geometry, "mask")
    moving_mask = Volume(mask.data, moving.geometry, "moving mask")
    points = fixed.geometry.index_to_point([[7, 7, 7], [20, 8, 9], [14, 20, 17], [10, 14, 20]])
    start = Affine(np.array([[1, 0, 0, 2.5], [0, 1, 0, -2], [0, 0, 1, 1], [0, 0, 0, 1.0]]))
    registration = engine.register(
        fixed,
        moving,
        SETTINGS,
        fixed_mask=mask,
        moving_mask=moving_mask,
        initial=start,
        landmarks=LandmarkPairs(points, points + np.array([3, -2, 1])),
        regions=Volume(np.arange(mask.data.size).reshape(mask.data.shape) % 2, fixed.geometry, "comb"),
    )
    assert registration.inputs["regions"]["name"] == "comb"
    # An affine cannot slide.
    assert any("regions have no effect" in warning for warning in registration.warnings)
    assert registration.measures["tre_before_mean_mm"] > registration.measures["tre_after_mean_mm"]
    with pytest.raises(InputError, match="far away"):
        far = Volume(mask.data, deepregister.Geometry(mask.geometry.size, origin=(1e5, 0, 0)), "far away")
        engine.register(fixed, moving, SETTINGS, fixed_mask=far)
    with pytest.raises(InputError, match="region map mask has the value 1"):
        engine.register(fixed, moving, SETTINGS, regions=mask)


def test_the_worker_is_kept_and_torch_stays_out_of_this_process(folders):
    lines = run_script(
        """
import sys
import numpy as np
from deepregister import Settings, Volume
from deepregister.client import EngineClient

data = np.random.default_rng(0).random((16, 16, 16), dtype=np.float32)
volume = Volume.from_array(data, spacing=(4, 4, 4))
with EngineClient(environment={"OMP_NUM_THREADS": "1"}) as client:
    for _ in range(2):
        client.register(volume, volume, Settings(model="rigid", quality="fast", device="cpu"))
        print(client.pid)
    print(client.devices.torch)
print("torch" in sys.modules, "qt" in sys.modules)
"""
    )
    assert lines[0] == lines[1]
    assert lines[2][0].isdigit()
    assert lines[3:] == ["False", "False"]
    assert not alive(int(lines[0]))
    assert not list(folders.iterdir())


def test_an_error_of_the_engine_arrives_with_its_class_and_text(engine, pair):
    constant = Volume(np.zeros_like(pair[0].data), pair[0].geometry, "constant volume")
    with pytest.raises(InputError) as here:
        deepregister.register(constant, pair[1], settings=SETTINGS)
    pid = engine.pid
    with pytest.raises(InputError) as there:
        engine.register(constant, pair[1], SETTINGS)
    assert type(there.value) is type(here.value)
    assert str(there.value) == str(here.value)
    assert engine.pid == pid


@pytest.mark.parametrize("stage", ["prepare", "align", "deform", "inverse", "measure"])
def test_cancel_in_every_stage(engine, pair, stage):
    engine.start()
    pid = engine.pid
    # The last stages are short: a run of high quality would only make the wait for them longer.
    quality = "fast" if stage in ("inverse", "measure") else "balanced"
    job = engine.submit(*pair, Settings(model="deformable", quality=quality, device="cpu", threads=1))
    seen = []
    while stage not in seen:
        seen += [report.stage for report in job.poll()]
        assert not job.done, f"the run ended without the stage {stage}: {seen}"
        time.sleep(0.005)
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait(lambda report: seen.append(report.stage))
    if stage in ("prepare", "align", "deform"):
        assert "measure" not in seen
    # It stopped by itself, within the run: the worker was not ended, and is ready at once.
    assert engine.pid == pid
    assert list(engine._connection.folder.iterdir()) == []


def test_ten_cancelled_runs_leave_nothing(folders, pair):
    client = EngineClient(environment={"OMP_NUM_THREADS": "1"})
    pids = set()
    for _ in range(10):
        job = first_report(client.submit(*pair, Settings(model="deformable", quality="fast", threads=1)))
        pids.add(client.pid)
        job.cancel()
        with pytest.raises(Cancelled):
            job.wait()
    client.shutdown()
    assert len(pids) == 1
    assert not alive(pids.pop())
    assert not list(folders.iterdir())


@posix
def test_a_killed_worker_is_reported_and_replaced(folders, pair):
    with EngineClient(environment={"OMP_NUM_THREADS": "1"}) as client:
        first = client.pid
        job = first_report(client.submit(*pair, Settings(model="deformable", quality="accurate", threads=1)))
        os.kill(first, signal.SIGKILL)
        with pytest.raises(WorkerError) as caught:
            job.wait()
        assert "SIGKILL" in str(caught.value)
        assert "memory" in str(caught.value)
        assert not list(folders.iterdir())
        assert client.pid is None
        assert client.register(*pair, SETTINGS).settings.model == "affine"
        assert client.pid not in (None, first)
    assert not list(folders.iterdir())


def test_the_last_words_of_a_worker_are_quoted(client_of, small):
    client = client_of(DYING)
    with pytest.raises(WorkerError, match=r"exit code 3(.|\n)*CUDA driver is on fire"):
        client.register(small, small)
    assert "CUDA driver is on fire" in client.log_text


def test_a_worker_that_dies_between_runs_is_replaced_in_silence(client_of, small):
    client = client_of(FAULTY)
    client.start()
    first = client.pid
    os.kill(first, getattr(signal, "SIGKILL", signal.SIGTERM))
    wait_until(lambda: client.pid is None)
    with pytest.raises(WorkerError, match="expected scalar type Float"):
        client.register(small, small)
    assert client.pid not in (None, first)


def test_a_job_that_a_dying_worker_had_not_looked_at_goes_to_the_next(client_of, folders, small):
    client = client_of(DYING_ONCE)
    client.start()
    first = client.pid
    job = client.submit(small, small)
    with pytest.raises(WorkerError, match=f"the second worker, and it got {small.name}"):
        job.wait(timeout=PATIENCE_SECONDS)
    assert client.pid not in (None, first)
    # One folder, that of the second worker, and nothing of the job in it.
    assert [list(folder.iterdir()) for folder in folders.iterdir()] == [[]]


def test_a_job_that_was_cancelled_is_not_begun_again(client_of, small):
    client = client_of(DYING)
    client.start()
    job = client.submit(small, small)
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait(timeout=PATIENCE_SECONDS)


@posix
@pytest.mark.parametrize("script", [FAULTY, ENDLESS], ids=["between runs", "during a run"])
def test_the_end_of_a_worker_is_noticed_by_its_process_and_not_by_its_pipes_alone(client_of, folders, small, script):
    client = client_of(HELD_OPEN + script)
    client.start()
    wait_until(lambda: client.pid and client.log_text)
    first, holder = client.pid, int(client.log_text.split()[0])
    try:
        job = first_report(client.submit(small, small)) if script is ENDLESS else None
        os.kill(first, signal.SIGTERM)
        wait_until(lambda: not alive(first))
        if job is not None:
            with pytest.raises(WorkerError, match="SIGTERM"):
                job.wait(timeout=PATIENCE_SECONDS)
        # At once, and without asking whether it lives: the new run must not pay for the end of the old worker.
        again = client.submit(small, small)
        wait_until(lambda: again.poll() or again.done)
        assert client.pid not in (None, first)
        again.cancel()
        with pytest.raises(WorkerError if script is FAULTY else Cancelled, match=None):
            again.wait(timeout=PATIENCE_SECONDS)
        second = client.log_text.split()[0]
    finally:
        os.kill(holder, signal.SIGKILL)
    client.shutdown()
    os.kill(int(second), signal.SIGKILL)
    assert not list(folders.iterdir())


@posix
def test_a_result_that_has_arrived_is_kept_when_its_worker_is_killed_before_it_is_read(pair):
    with EngineClient() as client:
        job = client.submit(*pair, SETTINGS)
        wait_until(lambda: job.done)
        os.kill(client.pid, signal.SIGKILL)
        wait_until(lambda: client.pid is None)
        assert job.result().settings.model == "affine"


def test_a_worker_that_ignores_a_cancel_is_ended(client_of, folders, small):
    client = client_of(DEAF)
    client.cancel_grace_seconds = 0.2
    job = first_report(client.submit(small, small))
    pid = client.pid
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait()
    assert not alive(pid)
    assert not list(folders.iterdir())
    assert not first_report(client.submit(small, small)).done


def test_shutdown_in_the_middle_of_a_run_cancels_it(client_of, folders, small):
    client = client_of(ENDLESS)
    job = first_report(client.submit(small, small))
    pid = client.pid
    client.shutdown()
    with pytest.raises(Cancelled):
        job.result()
    assert not alive(pid)
    assert not list(folders.iterdir())
    client.shutdown()


def test_a_result_that_crosses_a_cancel_on_its_way_is_none(client_of, folders, small):
    client = client_of(ENDLESS.replace("raise Cancelled()", "return {'found': 1}"))
    job = first_report(client.submit(small, small))
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait()
    assert not list(client._connection.folder.iterdir())


def test_cancel_after_the_end_changes_nothing(client_of, small):
    client = client_of(FAULTY)
    job = client.submit(small, small)
    with pytest.raises(WorkerError):
        job.wait()
    job.cancel()
    with pytest.raises(WorkerError):
        job.result()


def test_an_unexpected_exception_becomes_one_line_and_its_traceback_is_logged(client_of, small):
    lines = []
    client = client_of(FAULTY, log=lines.append)
    with pytest.raises(WorkerError) as caught:
        client.register(small, small)
    assert "RuntimeError: expected scalar type Float but found Half" in str(caught.value)
    assert "\n" not in str(caught.value)
    wait_until(lambda: client.hello and any("Traceback" in line for line in lines))
    assert "in register" in client.log_text


@pytest.mark.parametrize(
    "fault", ["MemoryError()", "RuntimeError('ITK ERROR: X(0x1): Failed to allocate memory for image.')"]
)
def test_memory_that_runs_out_anywhere_is_said_and_is_no_fault_of_the_program(client_of, small, fault):
    client = client_of(FAULTY.replace('RuntimeError("expected scalar type Float but found Half")', fault))
    with pytest.raises(ResourceError, match="memory of this machine does not suffice"):
        client.register(small, small)


@pytest.mark.parametrize("event", ['{"event": "hello"}', '{"event": "devices", "torch": 1}'])
def test_events_that_are_none_end_the_worker_and_not_the_caller(client_of, small, event):
    client = client_of(f"print({event!r}, flush=True)\nwhile True: input()")
    with pytest.raises(WorkerError, match="does not understand"):
        client.register(small, small)


def test_only_one_run_at_a_time(client_of, small):
    client = client_of(ENDLESS)
    job = first_report(client.submit(small, small))
    with pytest.raises(WorkerError, match="still running"):
        client.submit(small, small)
    job.cancel()
    with pytest.raises(Cancelled):
        job.result()
    client.submit(small, small).cancel()


def test_waiting_may_end_before_the_run(client_of, small):
    client = client_of(ENDLESS)
    job = client.submit(small, small)
    with pytest.raises(TimeoutError, match="it goes on"):
        job.wait(timeout=0.1)
    assert not first_report(job).done
    job.cancel()


def test_an_exception_in_the_progress_callback_cancels_the_run(client_of, folders, small):
    def interrupt(report):
        raise KeyboardInterrupt

    client = client_of(ENDLESS)
    client.start()
    pid = client.pid
    with pytest.raises(KeyboardInterrupt):
        client.register(small, small, progress=interrupt)
    assert client.pid == pid
    assert not client.submit(small, small).done


def test_a_wrong_input_is_refused_before_anything_starts(client_of, folders, small):
    client = client_of(ENDLESS)
    with pytest.raises(InputError, match="fixed volume is a ndarray"):
        client.submit(small.data, small)
    assert client.pid is None
    with pytest.raises(InputError, match="initial: a ndarray"):
        client.submit(small, small, initial=np.eye(4))
    assert list(client._connection.folder.iterdir()) == []
    assert not first_report(client.submit(small, small)).done


def test_a_library_that_prints_does_not_disturb_a_run(client_of, pair):
    client = client_of(
        """
import os
import deepregister
from deepregister import worker

print("printed early", end="")

def register(*inputs, progress, **options):
    def noisily(report):
        print("as a progress bar", end="\\r")
        os.write(1, b"written to descriptor 1\\n")
        progress(report)

    return deepregister.register(*inputs, progress=noisily, **options)

worker.main(register)
"""
    )
    assert client.register(*pair, SETTINGS).settings.model == "affine"
    for text in ("printed early", "as a progress bar", "written to descriptor 1"):
        assert text in client.log_text


def test_a_result_is_read_when_it_is_asked_for_and_kept_over_the_end_of_the_worker(pair):
    with EngineClient() as client:
        job = client.submit(*pair, SETTINGS)
        wait_until(lambda: job.done)
        # Whoever polls has not waited for the voxels to be read: they still lie where the worker put them.
        assert any(job._folder.iterdir())
        job.cancel()
        second = client.submit(*pair, SETTINGS)
        assert job.result() is job.result()
        assert not job._folder.exists()
        wait_until(lambda: second.done)
        folder = client._connection.folder
    assert not folder.exists()
    np.testing.assert_array_equal(second.result().transform.matrix, job.result().transform.matrix)


@posix
def test_polling_suffices_where_other_threads_rest_between_polls(pair):
    """Slicer's main thread keeps Python's lock while it waits for events: the reader threads get their turn when Python
    code runs in it, so that a timer that polls has to be enough for them."""
    asleep = ctypes.PyDLL(None).usleep
    with EngineClient() as client:
        job, reports, turns = client.submit(*pair, SETTINGS), [], 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not job.done:
            reports += job.poll()
            asleep(50_000)
            turns += 1
            assert time.monotonic() < deadline
        assert len(reports) > 3
        assert job.result().settings.model == "affine"
        other = client.submit(*pair, replace(SETTINGS, model="deformable", quality="accurate"))
        while not other.poll():
            asleep(50_000)
        other.cancel()
        while not other.done:
            asleep(50_000)
            assert time.monotonic() < deadline
        with pytest.raises(Cancelled):
            other.result()
