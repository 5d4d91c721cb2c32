"""Makes the environments of the peers, each with the versions that the published figures were made with.

    python Testing/benchmarks/peers/install.py [ENVIRONMENT ...] [--folder build/peers] [-- PIP OPTION ...]

Python's own `venv` and `pip`; what follows `--` goes to each `pip install`, such as `--index-url` of a mirror, or
`--extra-index-url https://download.pytorch.org/whl/cpu`, with which torch comes on Linux without gigabytes of CUDA.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
# What is installed without what it asks for: fireants wants a SimpleITK that no longer exists for this Python.
WITHOUT_DEPENDENCIES = {"fireants": ["fireants==1.5.0"]}


def environments() -> list[str]:
    """The names of all environments."""
    return sorted(path.stem for path in (HERE / "requirements").glob("*.txt"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Make each environment that is asked for; 1 if one could not be made."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environments", nargs="*", metavar="ENVIRONMENT", help=f"of {', '.join(environments())}")
    parser.add_argument("--folder", type=Path, default=HERE.parents[2] / "build" / "peers")
    options = parser.parse_args(words[:cut])
    if unknown := sorted(set(options.environments) - set(environments())):
        parser.error(f"there is no environment {', '.join(unknown)}; there are {', '.join(environments())}")
    failed = [
        name
        for name in options.environments or environments()
        if not install(name, options.folder / name, words[cut + 1 :])
    ]
    for name in failed:
        print(f"{name} could not be made; its methods will be left out.", file=sys.stderr)
    return 1 if failed else 0


def install(name: str, folder: Path, pip_options: Sequence[str] = ()) -> bool:
    """Make one environment, or bring it up to date; whether that went well."""
    print(f"{name}: {folder}", flush=True)
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    requests = [["-r", str(HERE / "requirements" / f"{name}.txt")]]
    if name in WITHOUT_DEPENDENCIES:
        requests.append(["--no-deps", *WITHOUT_DEPENDENCIES[name]])
    return not any(
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pip_options, *words], check=False).returncode
        for words in requests
    )


if __name__ == "__main__":
    sys.exit(main())
