"""What this machine is and has: the only place that asks for its system, processor and C library.

Simulating and drawing work wherever Python, NumPy and numba do. What runs or records real programs
needs Linux on x86-64, and most of it the GNU C library: `require_linux`, `require_glibc`.
"""

import os
import platform
from pathlib import Path

from allocsim.errors import InputError

_CPU_INFO = Path("/proc/cpuinfo")
_CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")
_ELSEWHERE = "simulate, run and figures work here"


def require_linux(command: str) -> None:
    """Raise InputError, which names `command`, unless this is Linux on x86-64."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        found = f"{platform.system() or 'an unknown system'} on {platform.machine() or 'unknown'}"
        raise InputError(f"{command} needs Linux on x86-64, and this is {found}; {_ELSEWHERE}")


def require_glibc(command: str) -> None:
    """Raise InputError, which names `command`, unless this is Linux on x86-64 with glibc."""
    require_linux(command)
    if not glibc_version():
        raise InputError(
            f"{command} needs the GNU C library, and this system's programs use another one "
            f"(musl?); {_ELSEWHERE}"
        )


def glibc_version() -> str:
    """The version of the C library that this machine runs on, or "" if that is no glibc."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):
        return ""
    return version if name == "glibc" else ""


def usable_cpus() -> int:
    """How many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_info() -> dict[str, str]:
    """What Linux says about the first processor, by name; empty on other systems."""
    try:
        text = _CPU_INFO.read_text()
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def cpu_model() -> str:
    """The processor's name, as far as the system says it."""
    return cpu_info().get("model name") or platform.processor() or platform.machine()


def memory_bytes() -> int:
    """Physical memory that this process may use: the machine's, or its control group's limit."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(memory, int(_CGROUP_MEMORY.read_text()))
    except (OSError, ValueError):  # none, or "max"
        return memory
