"""A cohort on real Dask workers: killed ones, failing rows, stops, clusters that are there or not."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter

import cohorts
import numpy as np
import pytest
from deepregister.cli import main
from deepregister.cohort import cluster, run
from deepregister.cohort.cluster import Layout, lay_out, needed_bytes
from deepregister.cohort.run import Cohort
from deepregister.connection import worker_environment
from deepregister.errors import WorkerError
from deepregister.report import RESULTS
from deepregister.settings import Settings
from deepregister.volume import Volume
from processes import alive, posix, wait_until

distributed = pytest.importorskip("distributed")


@posix
def test_a_killed_worker_loses_nothing_and_nothing_is_done_twice(tmp_path):
    rows = cohorts.rows_of(tmp_path, 4)
    killed = []

    def kill_once(outcome):
        # Whoever is in the middle of a row now: the other process, or this one at its next row.
        latest = {pid: word for _, word, pid in cohorts.attempts(tmp_path)}
        busy = [int(pid) for pid, word in latest.items() if word == "begins"]
        if busy and not killed:
            killed.append(busy[0])
            os.kill(busy[0], signal.SIGKILL)

    outcomes = Cohort(rows, workers=2, finished=kill_once, work=cohorts.register_noted).run()
    assert [(outcome.name, outcome.verdict) for outcome in outcomes] == [(f"pair-{n}", "good") for n in range(4)]
    ends = Counter(name for name, word, _ in cohorts.attempts(tmp_path) if word == "ends")
    assert ends == {f"pair-{n}": 1 for n in range(4)}
    begins = Counter(name for name, word, _ in cohorts.attempts(tmp_path) if word == "begins")
    assert sorted(begins.values()) == [1, 1, 1, 2], "one row was begun again after the kill, and no other"
    # It may have ended rows before; the one in which it was killed it only began.
    words = [word for _, word, pid in cohorts.attempts(tmp_path) if pid == str(killed[0])]
    assert words[-1] == "begins"
    for row in rows:
        assert {path.name for path in row.folder.iterdir()} == set(RESULTS)
    # A second run finds everything done.
    before = {row.name: (row.folder / "result.json").stat().st_mtime_ns for row in rows}
    again = Cohort(rows, workers=2, work=cohorts.register_noted).run()
    assert all(outcome.reused for outcome in again)
    assert {row.name: (row.folder / "result.json").stat().st_mtime_ns for row in rows} == before
    assert [outcome.to_dict() for outcome in again] == [outcome.to_dict() for outcome in outcomes]


@posix
def test_a_pair_that_takes_its_processes_down_fails_alone(tmp_path):
    rows = cohorts.rows_of(tmp_path, 6)
    outcomes = Cohort(rows, workers=2, work=cohorts.deadly_for_one).run()
    assert [outcome.verdict for outcome in outcomes] == ["good", "failed", "failed", "failed", "good", "good"]
    assert "ended unexpectedly, 3 times in a row" in outcomes[1].error and "memory" in outcomes[1].error
    assert len(cohorts.attempts(tmp_path)) == cluster.ALLOWED_FAILURES + 1
    assert outcomes[2].error == "moving-2.nii.gz is a photograph."
    assert "RuntimeError: expected scalar type Float but found Half" in outcomes[3].error


def test_a_stopped_cohort_keeps_what_is_done(tmp_path):
    reports, ended = [], []
    cohort = Cohort(
        cohorts.rows_of(tmp_path, 5),
        workers=2,
        progress=reports.append,
        cancelled=lambda: bool(ended),
        finished=ended.append,
        work=cohorts.until_stopped,
    )
    outcomes = cohort.run()
    assert [outcome.verdict for outcome in outcomes] == ["good", *["not done"] * 4]
    assert [outcome.name for outcome in ended] == ["pair-0"]
    assert reports[0].fraction == 0 and reports[0].message == "0 of 5 pairs"


def test_a_cluster_that_is_there_is_used(tmp_path):
    rows = cohorts.rows_of(tmp_path, 7, Settings(model="rigid"))
    options = {"processes": False, "dashboard_address": "127.0.0.1:0", "protocol": "tcp"}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=3, **options) as there:
        outcomes = Cohort(rows, scheduler=there.scheduler_address, work=cohorts.echo).run()
        assert [outcome.device for outcome in outcomes] == ["3 threads"] * 7
        # The cluster is the user's: it goes on.
        with distributed.Client(there) as client:
            assert client.submit(sum, [1, 2]).result() == 3


def test_a_scheduler_that_is_not_there_is_told_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    table = cohorts.write_cohort(tmp_path, 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://here", "127.0.0.1:9", "no-such-scheduler.json"):
        options = ["--scheduler", address, "--output", str(tmp_path / "out")]
        assert main(["batch", str(table), *options]) == 2
        told = capsys.readouterr().err
        assert address in told and "scheduler" in told and "Traceback" not in told
    assert not (tmp_path / "out").exists()


def test_without_dask_the_command_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    assert main(["batch", str(cohorts.write_cohort(tmp_path, 1)), "--output", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "pip install 'distributed>=" in told or 'pip install "distributed>=' in told
    assert not (tmp_path / "out").exists()


def test_workers_with_another_version_are_refused(tmp_path, monkeypatch):
    rows = cohorts.rows_of(tmp_path, 1)
    with distributed.LocalCluster(
        n_workers=1, processes=False, dashboard_address="127.0.0.1:0", protocol="tcp"
    ) as there:
        monkeypatch.setattr(run, "__version__", "99.0")
        with pytest.raises(WorkerError, match=r"has DeepRegister .*, this is 99\.0\. Install the same"):
            Cohort(rows, scheduler=there.scheduler_address, work=cohorts.echo).run()


def test_the_command_does_a_cohort_with_a_failure_and_says_so(tmp_path, capsys):
    table = cohorts.write_cohort(tmp_path, 2)
    constant = np.full((20, 20, 20), 7, np.float32)
    Volume.from_array(constant, name="flat").write(tmp_path / "flat.nii.gz")
    with table.open("a", encoding="utf-8") as file:
        file.write("flat,fixed.nii.gz,flat.nii.gz\n")
    output = tmp_path / "out"
    options = ["--model", "rigid", "--quality", "fast", "--device", "cpu", "--workers", "1"]
    assert main(["batch", str(table), "--output", str(output), *options]) == 1
    told = capsys.readouterr()
    assert "3: 1 failed, 2 good" in told.out and "flat.nii.gz" in told.out
    assert "[3/3]" in told.err and "Traceback" not in told.err
    with (output / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["status"]) for row in rows] == [
        ("pair-0", "done"),
        ("pair-1", "done"),
        ("flat", "failed"),
    ]
    saved = json.loads((output / "pair-1" / "result.json").read_text(encoding="utf-8"))
    assert float(rows[1]["similarity_after"]) == pytest.approx(saved["measures"]["similarity_after"], rel=1e-5)
    assert "value 7" in rows[2]["reasons"]
    assert (output / "index.html").is_file() and not (output / "flat").exists()


@posix
def test_ctrl_c_leaves_what_is_done_and_says_how_to_go_on(tmp_path):
    table = cohorts.write_cohort(tmp_path, 6, size=64)
    command = [sys.executable, "-m", "deepregister", "batch", table, "--output", tmp_path / "out"]
    options = ["--model", "deformable", "--quality", "accurate", "--device", "cpu", "--workers", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    environment = worker_environment({})
    with subprocess.Popen([*command, *options], env=environment, start_new_session=True, **pipes) as process:
        assert process.stderr.readline().startswith("[1/6] pair-0: ")
        workers = _children(process.pid)
        # A terminal sends it to the workers as well.
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "of 6 pairs to go" in err and "the same command goes on" in err
    assert "Traceback" not in err
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    finished = summary["counts"]["good"] + summary["counts"]["low confidence"]
    assert finished >= 1 and summary["counts"]["not done"] == 6 - finished
    for pid in workers:
        wait_until(lambda pid=pid: not alive(pid))
    assert [path.name for path in (tmp_path / "out").rglob(".unfinished-*")] == []


def _children(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    return [pid for pid, above in pairs if above == parent]


CPU = Settings(device="cpu")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"pairs": 50, "cores": 2}, Layout(2, 1)),
        ({"pairs": 3, "cores": 16}, Layout(3, 5)),
        ({"pairs": 1, "cores": 16}, Layout(1, 16)),
        ({"pairs": 500, "cores": 16, "pair_bytes": 4_000_000_000, "free_bytes": 17_000_000_000}, Layout(4, 4)),
        ({"pairs": 500, "cores": 16, "pair_bytes": 4_000_000_000, "free_bytes": 1_000_000_000}, Layout(1, 16)),
        ({"pairs": 500, "cores": 16, "workers": 5}, Layout(5, 3)),
        ({"pairs": 500, "cores": 16, "settings": Settings(threads=4)}, Layout(4, 4)),
        ({"pairs": 500, "cores": 16, "gpus": ("0", "1", "3")}, Layout(3, 5, ("0", "1", "3"))),
        ({"pairs": 2, "cores": 16, "gpus": ("0", "1", "3")}, Layout(2, 8, ("0", "1"))),
        ({"pairs": 9, "cores": 16, "gpus": ("0", "1"), "workers": 8}, Layout(2, 8, ("0", "1"))),
    ],
)
def test_as_many_processes_as_the_machine_carries(given, expected):
    assert lay_out(**{"settings": CPU, **given}) == expected


def test_memory_of_a_pair_is_not_underestimated():
    # Testing/benchmarks/results/sizes.md: 256^3 took 1.17 GB, 512^3 took 4.25 GB; an engine before it 1.69 for 256^3.
    assert needed_bytes(2 * 256**3, "auto") > 1.69e9
    assert needed_bytes(2 * 512**3, "auto") > 4.25e9


def test_each_gpu_process_sees_its_own_gpu_alone():
    with cluster.local_cluster(Layout(2, 1, ("5", "7"))) as there, distributed.Client(there) as client:
        seen = client.run(lambda: os.environ["CUDA_VISIBLE_DEVICES"])
        assert sorted(seen.values()) == ["5", "7"]
        threads = client.run(
            lambda: (os.environ["OMP_NUM_THREADS"], os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"])
        )
        assert set(threads.values()) == {("1", "1")}
