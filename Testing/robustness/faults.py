"""Take from a run what it needs: room on the disk, the right to write, memory, whole weights.

    python Testing/robustness/faults.py --count 5

Each ends in a correct result or in words that say what to do; the older result in the folder stays as it was, and
nothing is left beside it. A native library that finds no memory may end its process; then this is what is counted, and
the same must hold. Where a fault cannot be made (another system, no right to mount) it is counted as skipped, with the
reason.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deepregister import Volume
from deepregister.errors import DeepRegisterError
from deepregister.models.registry import BUILT_IN
from deepregister.result import Registration
from kills import SETTINGS, Ground, clear, client_in, ground, is_correct, snapshot

CONFINED = [sys.executable, str(Path(__file__).resolve().with_name("confined.py"))]
LEARNED = "pyramid-hippocampus"
EXIT_BAD_INPUT = 2
LIMIT_SECONDS = 600


@dataclass(frozen=True)
class Fault:
    """One fault and how it ended.

    Attributes:
        what: was taken away.
        outcome: "told", "correct result", "ended by a library" or "skipped".
        detail: how much was left, and what was told.
        faults: what was not as promised.
    """

    what: str
    outcome: str
    detail: str
    faults: tuple[str, ...] = ()


def run(place: Ground, command: list[str], output: Path | None = None) -> tuple[str, str, list[str]]:
    """Run a command that fills `output` (the ground's): how it ended, what it told, and what was not as promised."""
    output = output or place.output
    before = snapshot(output) if output.is_dir() else {}
    done = subprocess.run(
        command,
        env=place.environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LIMIT_SECONDS,
        check=False,
    )
    words = [line for line in done.stderr.splitlines() if line.startswith("deepregister: ")]
    told, faults = words[-1] if words else "", []
    if done.returncode == 0:
        outcome = "correct result"
        if not is_correct(Registration.load(output)):
            faults.append("the result is wrong")
    else:
        # Killed by a signal, or ended from within a library.
        outcome = "told" if told else "ended by a library"
        if outcome == "told" and done.returncode != EXIT_BAD_INPUT:
            faults.append(f"the exit status is {done.returncode}")
        if "Traceback" in done.stderr or (outcome != "told" and done.returncode > 0 and done.returncode != 134):
            faults.append(f"exit status {done.returncode}: {done.stderr[-400:]}")
        if (snapshot(output) if output.is_dir() else {}) != before:
            faults.append("the older result was changed")
    left = [path.name for path in output.iterdir() if path.name.startswith(".")] if output.is_dir() else []
    # What a crash leaves is removed by the next to write there, which `kills.py` looks at.
    if left and outcome != "ended by a library":
        faults.append(f"left in the output folder: {left}")
    if rest := [path.name for path in place.temporary.iterdir()]:
        faults.append(f"left in the temporary folder: {rest}")
        clear(place.temporary)
    return outcome, told, faults


def small_files(place: Ground, draw: random.Random) -> Fault:
    """No file may grow beyond a size between nothing and that of the largest file of a result."""
    place.restore()
    limit = int(draw.uniform(0, 1) ** 3 * max(map(len, place.old.values())))
    outcome, told, faults = run(place, [*CONFINED, "--file", str(limit), "--", *place.command(seed=2)])
    if outcome != "told" or "rite" not in told:
        faults.append(f"ended as {outcome!r}: {told}")
    return Fault("file size", outcome, f"{limit} bytes: {told}", tuple(faults))


def full_disk(place: Ground, draw: random.Random) -> Fault:
    """The output folder lies on a disk with less room than a second result needs, in a name space of its own."""
    place.restore()
    size = sum(map(len, place.old.values()))
    room = size + int(draw.uniform(0.02, 0.95) * size)
    folder = place.folder / "disk"
    folder.mkdir(exist_ok=True)
    # What the mount shows is gone with the name space, so the same shell looks at it afterwards.
    script = (
        f"mount -t tmpfs -o size={room} tmpfs '{folder}' || exit 90\n"
        f"cp '{place.output}'/* '{folder}'/\n"
        '"$@"\nstatus=$?\n'
        f"cmp_status=0\nfor f in '{place.output}'/*; do cmp -s \"$f\" '{folder}'/\"${{f##*/}}\" || cmp_status=1; done\n"
        f"[ \"$(ls -A '{folder}' | wc -l)\" = \"$(ls -A '{place.output}' | wc -l)\" ] || cmp_status=1\n"
        "[ $cmp_status = 0 ] || exit 91\nexit $status"
    )
    command = [str(folder) if part == str(place.output) else part for part in place.command(seed=2)]
    if shutil.which("unshare") is None:
        return Fault("full disk", "skipped", "there is no program unshare")
    outcome, told, faults = run(
        place, ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *command], folder
    )
    if outcome == "ended by a library" and any(
        "exit status 90" in fault or "exit status 1:" in fault for fault in faults
    ):
        return Fault("full disk", "skipped", f"no disk can be mounted here: {faults[0]}")
    if outcome != "told" or "rite" not in told:
        faults.append(f"ended as {outcome!r}: {told}")
    return Fault("full disk", outcome, f"{room - size} bytes left: {told}", tuple(faults))


def read_only(place: Ground, draw: random.Random) -> Fault:
    """The output folder may not be written."""
    place.restore()
    place.output.chmod(0o500)
    try:
        outcome, told, faults = run(place, [*CONFINED, "--obey", "--", *place.command(seed=2)])
    finally:
        place.output.chmod(0o700)
    if outcome != "told" or "Cannot write into" not in told:
        faults.append(f"ended as {outcome!r}: {told}")
    return Fault("right to write", outcome, told, tuple(faults))


def damaged_weights(place: Ground, draw: random.Random) -> Fault:
    """The weights of a model are cut off or have one bit flipped."""
    place.restore()
    models = place.folder / "models"
    shutil.rmtree(models, ignore_errors=True)
    shutil.copytree(BUILT_IN / LEARNED, models / "copied")
    card = models / "copied" / "card.toml"
    card.write_text(
        card.read_text(encoding="utf-8").replace(f'name = "{LEARNED}"', 'name = "copied"'), encoding="utf-8"
    )
    weights = next((models / "copied").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    at = draw.randrange(len(content))
    if draw.random() < 0.5:
        del content[at:]
        detail = f"cut off after {at} bytes"
    else:
        content[at] ^= 1 << draw.randrange(8)
        detail = f"one bit of byte {at}"
    weights.write_bytes(content)
    command = [*place.command(seed=2), "--model", "copied", "--models-dir", str(models)]
    outcome, told, faults = run(place, command)
    if outcome != "told" or "damaged" not in told:
        faults.append(f"ended as {outcome!r}: {told}")
    return Fault("whole weights", outcome, f"{detail}: {told}", tuple(faults))


def little_memory(place: Ground, draw: random.Random) -> Fault:
    """Address space between what Python takes to start and more than a run needs."""
    place.restore()
    limit = int(draw.uniform(0.2e9, 2.0e9))
    outcome, told, faults = run(place, [*CONFINED, "--memory", str(limit), "--", *place.command(seed=2)])
    if outcome == "told" and "memory" not in told:
        faults.append(f"told something else: {told}")
    return Fault("memory", outcome, f"{limit / 1e6:.0f} MB: {told}", tuple(faults))


def confined_worker(place: Ground, draw: random.Random) -> Fault:
    """A worker without memory or room for its result: the client must say so, and nothing may be left."""
    what, limit = draw.choice((("--memory", int(draw.uniform(0.2e9, 2.0e9))), ("--file", int(draw.uniform(0, 40_000)))))
    worker = [sys.executable, "-u", "-m", "deepregister.worker"]
    faults, told = [], ""
    with client_in(place.temporary, [*CONFINED, what, str(limit), "--", *worker]) as client:
        try:
            result = client.register(Volume.read(place.fixed), Volume.read(place.moving), SETTINGS)
        except DeepRegisterError as error:
            outcome, told = "told", f"{type(error).__name__}: {str(error).splitlines()[0]}"
            if ("emory" if what == "--memory" else "rite") not in told:
                faults.append(f"told something else: {told}")
        else:
            outcome = "correct result"
            faults += [] if is_correct(result) else [f"the result is wrong: {result.transform}"]
    if rest := [path.name for path in place.temporary.iterdir()]:
        faults.append(f"left in the temporary folder: {rest}")
        clear(place.temporary)
    return Fault(f"worker's {what.removeprefix('--')}", outcome, f"{limit} bytes: {told}", tuple(faults))


KINDS = (small_files, full_disk, read_only, damaged_weights, little_memory, confined_worker)


def inject(count: int, seed: int = 1, told: Callable[[Fault], None] | None = None) -> list[Fault]:
    """Each kind of fault `count` times.

    Args:
        count: how often.
        seed: of what is left of each.
        told: called with each.
    """
    draw, found = random.Random(seed), []
    with ground() as place:
        for kind in KINDS * count:
            found.append(kind(place, draw))
            if told is not None:
                told(found[-1])
    return found


def summary(found: list[Fault]) -> dict:
    """Counts by what was taken and how it ended, JSON-ready, and every fault."""
    counts = Counter((each.what, each.outcome) for each in found)
    return {
        "ended": [
            {"what": what, "outcome": outcome, "count": count} for (what, outcome), count in sorted(counts.items())
        ],
        "faults": [
            {"what": each.what, "detail": each.detail, "faults": list(each.faults)} for each in found if each.faults
        ],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3, help="how often each fault; default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of what is left; default: %(default)s")
    options = parser.parse_args()
    found = inject(options.count, options.seed, lambda each: print(each, flush=True))
    print(json.dumps(summary(found), indent=2))
    return 1 if any(each.faults for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
