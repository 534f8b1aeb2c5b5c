"""What recording costs: CPU time of real programs and of a tight loop, recorded against plain.

    python benchmarks/recorder_overhead.py [--rounds 7]

Plain and recorded runs alternate; each figure is the median over the rounds. CPU time is user plus
system time of the program and its children, without the conversion of the logs.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from allocsim.cbuild import build
from allocsim.trace import recorder

TIGHT_LOOP = """
#include <stdlib.h>
int main(void)
{
    for (int i = 0; i < 2000000; i++) {
        void *volatile block = malloc(40);
        free(block);
    }
}
"""
PAIRS = 2_000_000

SQL = """
create table t(a integer primary key, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 150000)
insert into t select i, hex(randomblob(i % 100)), i * 1.5 from n;
create index x on t(b); select count(*), sum(length(b)) from t;
delete from t where a % 3 = 0; select c, b from t order by b limit 3;
"""
PERL = """
my %h; for my $r (1..4) { for my $i (1..80000) { $h{"k$i"} = "x" x ($i % 90); }
  for my $i (1..80000) { delete $h{"k$i"} if $i % 3; } } print scalar(keys %h), "\\n";
"""
PYTHON = """
import json
d = [{f"k{i}": [j * 1.5 for j in range(i % 50)], "s": "x" * i} for i in range(2000)]
for _ in range(20): d = json.loads(json.dumps(d))
"""
C_FUNCTION = (
    (
        "int f%d(int *p, int n) {{ int r = %d; for (int i = 0; i < n; i++) switch (i %% 5) {{"
        " case 0: r += p[i] * %d; break; case 1: r ^= p[i] + r; break; default: r -= p[n - i]; }}"
        " return r; }}\n"
    )
    .replace("{{", "{")
    .replace("}}", "}")
)


def workloads(folder: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Commands to measure, with what to add to the environment."""
    source = folder / "functions.c"
    source.write_text("".join(C_FUNCTION % (i, i, i) for i in range(600)))
    (folder / "loop.c").write_text(TIGHT_LOOP)
    loop = build(folder / "loop.c")
    fixed = {"PYTHONHASHSEED": "0", "PERL_HASH_SEED": "0"}
    malloc = fixed | {"PYTHONMALLOC": "malloc"}
    repository = str(Path(__file__).parents[1])
    return {
        "sqlite3": (["sqlite3", ":memory:", SQL], fixed),
        "git log -p": (["git", "-C", repository, "log", "-p", "--stat"], fixed),
        "perl": (["perl", "-e", PERL], fixed),
        "python": (["/usr/bin/python3", "-c", PYTHON], fixed),
        "python, PYTHONMALLOC=malloc": (["/usr/bin/python3", "-c", PYTHON], malloc),
        "gcc -O2": (["gcc", "-O2", "-c", "-o", "/dev/null", str(source)], fixed),
        "tight loop": ([str(loop)], fixed),
    }


def cpu_seconds(command: list[str], environment: dict[str, str]) -> float:
    """Run once and return the user and system time of the program and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=os.environ | environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def recorded_seconds(command: list[str], environment: dict[str, str], library: Path) -> float:
    """The same, with the recorder preloaded."""
    with tempfile.TemporaryDirectory(dir=".") as logs:
        folder = {recorder.FOLDER_VARIABLE: str(Path(logs).absolute())}
        return cpu_seconds(command, environment | {"LD_PRELOAD": str(library)} | folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    library = build(recorder.SOURCE, shared=True, flags=recorder.FLAGS)
    with tempfile.TemporaryDirectory() as folder:
        for name, (command, environment) in workloads(Path(folder)).items():
            plain, recorded = [], []
            for _ in range(rounds):
                plain.append(cpu_seconds(command, environment))
                recorded.append(recorded_seconds(command, environment, library))
            before, after = statistics.median(plain), statistics.median(recorded)
            print(f"{name:30} {before:6.2f} s  {after:6.2f} s  {after / before - 1:+7.1%}")
            if name == "tight loop":
                print(f"{'':30} {before / PAIRS * 1e9:.0f} -> {after / PAIRS * 1e9:.0f} ns a pair")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
