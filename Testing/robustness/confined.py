"""Run a command with less than the machine has, to see how it fails: less memory, small files, no right to overrule.

    python confined.py [--memory BYTES] [--file BYTES] [--obey] -- COMMAND ...

POSIX only. `--obey` takes from the administrator the right to write where the permissions forbid it (Linux).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource

PR_CAPBSET_DROP = 24
# CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, in linux/capability.h.
OVERRULING = (1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=int, help="address space, in bytes")
    parser.add_argument("--file", type=int, help="largest file that may be written, in bytes")
    parser.add_argument("--obey", action="store_true", help="obey the permissions of files and folders")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (options.memory, options.memory))
    if options.file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.file, options.file))
    if options.obey and os.geteuid() == 0:
        for capability in OVERRULING:
            # What is not in the bounding set is gone with the next program.
            if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "cannot give up the right to overrule permissions")
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
