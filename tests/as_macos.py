"""Runs `allocsim` as on macOS with Apple's processor: python as_macos.py simulate ...

No /proc, no advice that only Linux's madvise takes, no system calls that only Linux has.
"""

import mmap
import os
import platform
import sys
from unittest.mock import patch

ONLY_ON_LINUX = ("sched_getaffinity", "sched_setaffinity", "memfd_create", "pidfd_open")


def refuse_proc(event, arguments):
    if event == "open" and str(arguments[0]).startswith(("/proc", "/sys")):
        raise FileNotFoundError(2, "No such file or directory", arguments[0])


if __name__ == "__main__":
    for name in [name for name in dir(mmap) if name.startswith("MADV_")]:
        delattr(mmap, name)
    for name in ONLY_ON_LINUX:
        delattr(os, name)
    answers = {"system": "Darwin", "machine": "arm64", "processor": "arm"}
    for name, answer in answers.items():
        patch.object(platform, name, lambda answer=answer: answer).start()
    sys.addaudithook(refuse_proc)
    from allocsim.cli import main

    main()
