"""What the figures were measured on: every fact that may explain why they differ elsewhere."""

import ctypes
import os
import platform
import time
from pathlib import Path

from allocsim.platform_support import cpu_info, cpu_model, usable_cpus

VULNERABILITIES = Path("/sys/devices/system/cpu/vulnerabilities")
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
UNKNOWN = "unknown"


def machine() -> dict[str, object]:
    """Processor, kernel, C library, mitigations, settings, date and load, in plain values."""
    return {
        "cpu": f"{cpu_model()}, {usable_cpus()} of {os.cpu_count()} CPUs",
        "kernel": f"{platform.system()} {platform.release()} {platform.version()}",
        "c_library": c_library(),
        "virtual": _is_virtual(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "huge_pages": huge_pages_setting(),
        "clock_source": _text(
            Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
        ),
        "mitigations": mitigations(),
    }


def c_library() -> str:
    """Name and version of the C library that programs are linked with here."""
    try:
        version = ctypes.CDLL(None).gnu_get_libc_version
    except (AttributeError, OSError):
        return UNKNOWN
    version.restype = ctypes.c_char_p
    return f"glibc {version().decode()}"


def huge_pages_setting() -> str:
    """always, madvise or never; "unknown" for a kernel without transparent huge pages."""
    _, _, rest = _text(HUGE_PAGES).partition("[")
    return rest.partition("]")[0] or UNKNOWN


def mitigations() -> dict[str, str]:
    """What the kernel does about each flaw of the processor that concerns it."""
    if not VULNERABILITIES.is_dir():
        return {}
    found = {file.name: _text(file) for file in sorted(VULNERABILITIES.iterdir())}
    return {name: text for name, text in found.items() if text != "Not affected"}


def _is_virtual() -> bool:
    return "hypervisor" in cpu_info().get("flags", "").split()


def _text(path: Path) -> str:
    """A small file of the system, or "unknown"."""
    try:
        return path.read_text().strip()
    except OSError:
        return UNKNOWN
