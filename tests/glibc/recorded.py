"""The recorded traces under many settings: is the model equal to the real library on all of them?

usage: python tests/glibc/recorded.py [--version 2.41]

Prints a line for each trace and setting, and exits with 1 if one of them differs.
"""

import argparse
import sys

from allocsim import resources
from allocsim.glibc.versions import VERSIONS
from allocsim.ground_truth.verify import verify
from allocsim.trace import open_trace

SETTINGS: tuple[dict[str, int], ...] = (
    {},
    {"mmap_threshold": 0, "mmap_max": 2**31 - 1},
    {"mmap_threshold": 65_536},
    {"mmap_threshold": 1 << 20, "trim_threshold": 1 << 20},
    {"mmap_max": 0},
    {"trim_threshold": 0, "top_pad": 0},
    {"top_pad": 1 << 20},
    {"tcache_count": 0},
    {"tcache_count": 100},
    {"tcache_max": 256, "tcache_unsorted_limit": 2},
    {"mxfast": 0},
    {"mxfast": 160, "tcache_count": 1},
    {"hugetlb": 1},
    {"perturb": 85},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", type=float, choices=VERSIONS, default=VERSIONS[0])
    version = parser.parse_args().version
    differing = 0
    for name in resources.names("workloads", ".parquet"):
        path = resources.find("workloads", name, ".parquet")
        assert path is not None
        for setting in SETTINGS:
            verdict = verify(open_trace(path), {**setting, "version": version})
            differing += not verdict.equal
            print(f"{name} {setting}: {verdict}", flush=True)
    print(f"glibc {version}: {differing} differ")
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
