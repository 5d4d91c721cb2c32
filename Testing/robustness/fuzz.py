"""Fuzz the readers: damaged and invented inputs, which each must take or refuse in clear words.

    python Testing/robustness/fuzz.py images points --seconds 60

Each target runs in a process of its own, for a reader that crashes ends it: under atheris (libFuzzer, led by what of
the engine's Python an input reaches) where this is installed, else under plain random mutation. An input that found a
fault is kept in `--faults`; `--replay FILE` feeds it to the one target again.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
NAMES = ("images", "transforms", "points", "cards", "weights", "results", "requests", "packed")
# One input that takes longer hangs; one that takes more memory would take a small machine with it.
HANG_SECONDS = 30
# GDCM reserves what a damaged DICOM element claims, up to 4 GB, before it refuses the file.
MEMORY_MB = 6144
STARTING_SECONDS = 120
WORDS = (b"0", b"-1", b"nan", b"inf", b"1e308", b"\x00", b"\xff", b"\n", b'"', b"{", b"[", b"99999999999", b"null")


@dataclass
class Fuzzed:
    """What fuzzing one target came to.

    Attributes:
        target: its name.
        engine: "atheris", or "mutation".
        inputs: how many were fed.
        seconds: how long, starts included.
        faults: the last line of each different fault, with the file of its input.
        outgrown: processes that grew beyond the limit of memory over all their inputs, the last of which does not take
            as much alone: libraries that refuse a file do not give back all that they took for it.
    """

    target: str
    engine: str = ""
    inputs: int = 0
    seconds: float = 0.0
    faults: dict[str, str] = field(default_factory=dict)
    outgrown: int = 0


def fuzz(target: str, seconds: float, faults: Path, seed: int = 1) -> Fuzzed:
    """Feed a target for `seconds`; a process that found a fault is followed by another while time is left.

    Args:
        target: one of `NAMES`.
        seconds: time to feed, not counting the starts of processes.
        faults: folder for inputs that found a fault.
        seed: of the first process.
    """
    done = Fuzzed(target)
    faults.mkdir(parents=True, exist_ok=True)
    left, started = seconds, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="corpus-") as corpus:
        while left >= 1:
            known = set(faults.iterdir())
            began = time.monotonic()
            command = [
                sys.executable,
                "-X",
                "faulthandler",
                __file__,
                target,
                "--seconds",
                f"{left:.0f}",
                "--faults",
                str(faults),
            ]
            ended = subprocess.run(
                [*command, "--in-process", "--corpus", corpus, "--seed", str(seed)],
                capture_output=True,
                text=True,
                errors="replace",
                env={**os.environ, "TMPDIR": corpus},
                timeout=left + HANG_SECONDS + STARTING_SECONDS,
                check=False,
            )
            told = ended.stdout + ended.stderr
            done.engine = "atheris" if "INFO: libFuzzer" in told or "INFO: Seed:" in told else "mutation"
            done.inputs += max(
                [int(count) for count in re.findall(r"(?:Done |^#|: )(\d+) *(?:runs|\t)", told, re.M)] or [0]
            )
            if ended.returncode == 0:
                break
            found = [str(path) for path in set(faults.iterdir()) - known]
            words = _last_words(told, ended.returncode)
            if "out-of-memory" in words and found and _is_harmless(target, found[0]):
                done.outgrown += 1
            else:
                done.faults.setdefault(words, found[0] if found else "")
            left -= max(1.0, time.monotonic() - began)
            seed += 1
    done.seconds = time.monotonic() - started
    return done


def _is_harmless(target: str, file: str) -> bool:
    """Whether an input is taken or refused in a process of its own that may not have more memory than the limit."""
    command = [sys.executable, __file__, target, "--replay", file]
    limited = [sys.executable, str(HERE / "confined.py"), "--memory", str(MEMORY_MB << 20), "--", *command]
    return subprocess.run(limited, capture_output=True, check=False).returncode == 0


def _last_words(told: str, code: int) -> str:
    """What went wrong, in one line: the exception, or what libFuzzer says of a crash."""
    lines = [line.strip() for line in told.splitlines()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt|Exit)\b", line)]
    where = [line for line in lines if re.match(r'File ".*deepregister.*", line', line)]
    crash = [line for line in lines if "ERROR: libFuzzer" in line or line.startswith("Fatal Python error")]
    told = " at ".join([*(raised[-1:] or crash[-1:] or [f"exit code {code}"]), *where[-1:]])
    # One fault, whatever the process and the moment.
    return re.sub(rf"==\d+== |used: \d+Mb; |0x[0-9a-f]+|{re.escape(str(CHECKOUT))}/", "", told)


def _run_in_process(target: str, seconds: int, corpus: Path, faults: Path, seed: int) -> None:
    """Feed until a fault or the time is over; atheris ends the process by itself."""
    try:
        import atheris
    except ImportError:
        atheris = None
    if atheris is not None:
        # Only what is imported from here on is watched; libraries are not ours, and slow when watched.
        with atheris.instrument_imports(include=["deepregister"]):
            import targets
    else:
        import targets
    from examples import examples

    known = examples(target)
    feed = targets.TARGETS[target]
    if atheris is None:
        _mutate(feed, known, seconds, faults, seed)
        return
    for number, content in enumerate(known):
        (corpus / f"example-{number:02}").write_bytes(content)
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={HANG_SECONDS}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={faults}/{target}-",
        f"-seed={seed}",
        f"-max_len={max(4096, 2 * max(map(len, known)))}",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], feed)
    atheris.Fuzz()


def _mutate(feed, known: list[bytes], seconds: float, faults: Path, seed: int) -> None:
    count, until = 0, time.monotonic() + seconds
    for content in damaged(known, seed):
        if time.monotonic() > until:
            break
        file = faults / "mutation-last"
        # Written before it is fed: a reader that crashes ends this process.
        file.write_bytes(content)
        feed(content)
        count += 1
        file.unlink()
    print(f"Done {count} runs", flush=True)


def damaged(known: list[bytes], seed: int) -> Iterator[bytes]:
    """Endlessly: one of `known` with a few bytes changed, cut out, doubled, or replaced by what trips readers."""
    draw = random.Random(seed)
    while True:
        content = bytearray(draw.choice(known))
        for _ in range(draw.choice((1, 1, 2, 4, 16))):
            at, until = sorted(draw.randrange(len(content) + 1) for _ in range(2))
            kind = draw.randrange(6)
            if kind == 0 and content:
                content[min(at, len(content) - 1)] ^= 1 << draw.randrange(8)
            elif kind == 1:
                del content[at : min(until, at + 16)]
            elif kind == 2:
                content[at:at] = content[at : min(until, at + 64)]
            elif kind == 3:
                content[at : at + draw.randrange(4)] = draw.choice(WORDS)
            elif kind == 4 and content:
                content[min(at, len(content) - 1)] = draw.randrange(256)
            elif draw.random() < 0.3:
                del content[at:]
        yield bytes(content)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target; default: %(default)s")
    parser.add_argument(
        "--faults", type=Path, default=CHECKOUT / "build" / "faults", help="folder of what found faults"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers; default: %(default)s")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="feed this input to the one target, once")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.targets = options.targets or list(NAMES)
    if unknown := set(options.targets) - set(NAMES):
        parser.error(f"no target {', '.join(sorted(unknown))}. There are: {', '.join(NAMES)}.")
    if options.replay:
        from targets import TARGETS

        TARGETS[options.targets[0]](options.replay.read_bytes())
        print("Taken, or refused in clear words.")
        return 0
    if options.in_process:
        _run_in_process(options.targets[0], options.seconds, options.corpus, options.faults, options.seed)
        return 0
    found = [fuzz(target, options.seconds, options.faults, options.seed) for target in options.targets]
    for done in found:
        print(f"{done.target}: {done.inputs} inputs in {done.seconds:.0f} s ({done.engine}), {len(done.faults)} faults")
        for fault, file in done.faults.items():
            print(f"    {fault}\n        {file}")
    return 1 if any(done.faults for done in found) else 0


if __name__ == "__main__":
    sys.path.insert(0, str(CHECKOUT / "DeepRegister"))
    sys.exit(main())
