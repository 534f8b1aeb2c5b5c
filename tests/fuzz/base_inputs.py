"""The valid inputs that fuzzing starts from, one of each kind."""

import errno
import importlib
import os
import pkgutil
import shutil
from pathlib import Path
from typing import Any

import forked

import allocsim

ROOT = Path(__file__).parents[2]

CSV = """\
op,thread,object,size,alignment,written,offset,arg,time_ns,think_ns
malloc,0,0,100,,,,,0,10
calloc,0,1,5000,,100,,,100,10
aligned_alloc,1,2,300,64,,,,200,10
realloc,0,1,9000,,,,,300,10
touch,0,1,64,,,128,,400,10
read,1,2,16,,,8,,500,10
mark,0,-1,0,,,,7,600,0
mmap,0,3,200000,,,,3,700,10
madvise,0,3,8192,,,4096,4,800,10
mremap,0,3,400000,,,,1,900,10
munmap,0,3,401408,,,0,,1000,10
malloc,0,3,200000,,,,,1100,10
free,0,0,0,,,,,1200,10
free,1,2,0,,,,,1300,10
free,0,3,0,,,,,1400,10
free,0,1,0,,,,,1500,10
"""

WORKLOAD: dict[str, Any] = {
    "description": "small",
    "ops": 200,
    "threads": 1,
    "live_objects": 20,
    "free_order": "recent",
    "recent_objects": 16.0,
    "cross_thread_frees": 0.0,
    "free_at_end": True,
    "think_ns": 10.0,
    "sizes": {"distribution": "lognormal", "median": 96, "sigma": 1.3, "low": 1, "high": "64 KiB"},
    "phases": {"shape": "sine", "amplitude": 0.4, "period_ops": 100},
    "calls": {"calloc": 0.1, "aligned_alloc": 0.1, "alignment": 64, "realloc": 0.02},
    "accesses": {"written": 0.5, "touch": 0.1, "read": 0.1, "bytes": 64},
}

EXPERIMENT: dict[str, Any] = {
    "name": "small",
    "question": "Does it stand?",
    "repeats": 1,
    "seed": 1,
    "samples": 16,
    "walks": 2,
    "tolerance": 0.05,
    "referee": False,
    "writing": True,
    "policies": [
        {"use": "glibc", "label": "pinned", "parameters": {"trim_threshold": "1 MiB"}},
        {"use": "first_fit"},
    ],
    "grid": {"mmap_threshold": ["64 KiB", "128 KiB"]},
    "workloads": [{**WORKLOAD, "name": "inline", "ops": 60}, {"trace": "trace.parquet", "ops": 12}],
    "kernel": {
        "bits": 64,
        "legacy_layout": False,
        "stack_limit_bytes": "8 MiB",
        "limit_map_count": 65530,
        "limit_as_bytes": "4 GiB",
        "overcommit_bytes": "8 GiB",
        "memory_bytes": "64 MiB",
        "cpus": 4,
        "vma_locks": True,
        "huge_pages": "never",
        "max_ptes_none": 511,
        "scan_sleep_ms": 10000,
        "pages_to_scan": 4096,
    },
}

MAPS = """\
555555554000-555555556000 r--p 00000000 fe:01 1234      /usr/bin/true
555555556000-55555555a000 r-xp 00002000 fe:01 1234      /usr/bin/true
55555555f000-555555580000 rw-p 00000000 00:00 0         [heap]
7ffff7dd7000-7ffff7dda000 rw-p 00000000 00:00 0
7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0         [stack]
"""


def make_base(base: Path) -> None:
    """Fill the folder `base`. Where there is no C compiler, the recording is missing."""
    from mutations import to_toml

    (base / "trace.csv").write_text(CSV)
    (base / "maps").write_text(MAPS)
    (base / "experiment.toml").write_text(to_toml(EXPERIMENT))
    shutil.copy(ROOT / "src/allocsim/kernel/costs.toml", base / "costs.toml")
    _import_all()
    _made(base, "trace", "import", "trace.csv", "-o", "trace.parquet")
    _made(base, "run", "experiment.toml", "-o", "results", "-j", "1")
    _record(base)


def _made(base: Path, *arguments: str) -> None:
    outcome = forked.run(arguments, base)
    assert outcome.code in (0, 130), outcome


def _record(base: Path) -> None:
    """A recording that is kept, since its trace finds no room."""
    import allocsim.trace.writer as writer

    def refuse(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    opened, writer._open_parquet = writer._open_parquet, refuse
    (base / "recorded").mkdir()
    forked.run(("record", "-o", "recorded/t.parquet", "--", "/bin/sh", "-c", "/bin/true; :"), base)
    writer._open_parquet = opened
    for kept in (base / "recorded").iterdir():
        kept.rename(base / "recording")
    (base / "recorded").rmdir()


def _import_all() -> None:
    """All modules, so that no child has to import them."""
    for module in pkgutil.walk_packages(allocsim.__path__, "allocsim."):
        importlib.import_module(module.name)
