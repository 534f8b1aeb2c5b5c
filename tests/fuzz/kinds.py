"""The kinds of fuzzed inputs: each writes its files and gives the arguments of a command."""

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from base_inputs import EXPERIMENT, ROOT, WORKLOAD
from mutations import NUMBERS, TEXTS, changed_bytes, changed_tree, to_json, to_toml

Arguments = tuple[str, ...]
METADATA_KEY = b"allocsim.trace"


def csv(random: Random, base: Path, folder: Path) -> Arguments:
    """A CSV file, cell by cell."""
    rows = [line.split(",") for line in (base / "trace.csv").read_text().splitlines()]
    for _ in range(random.choice((0, 1, 2))):
        row = random.choice(rows)
        row[random.randrange(len(row))] = str(random.choice((*NUMBERS, *TEXTS)))
    content = "\n".join(map(",".join, rows)).encode("utf-8", "surrogatepass")
    if random.random() < 0.5:
        content = changed_bytes(random, content)
    codec = random.choice((None, None, None, "gzip", "zstd"))
    if codec:
        content = pa.compress(content, codec=codec, asbytes=True)
        content = changed_bytes(random, content) if random.random() < 0.5 else content
    (folder / "t.csv").write_bytes(content)
    return ("trace", "import", "t.csv", "-o", "t.parquet")


def parquet(random: Random, base: Path, folder: Path) -> Arguments:
    """A trace file: its bytes, its cells, its columns, or the description in its footer."""
    path = folder / "t.parquet"
    if random.random() < 0.5:
        path.write_bytes(changed_bytes(random, (base / "trace.parquet").read_bytes()))
    else:
        _write_changed_table(random, base / "trace.parquet", path)
    return random.choice(
        (
            ("trace", "info", "t.parquet"),
            ("trace", "info", "t.parquet", "--check"),
            ("trace", "head", "t.parquet"),
            ("trace", "export", "t.parquet", "-o", "t.csv"),
            ("simulate", "t.parquet", "--policy", "first_fit"),
        )
    )


def _write_changed_table(random: Random, source: Path, target: Path) -> None:
    table = pq.read_table(source)
    description = json.loads(table.schema.metadata[METADATA_KEY])
    kind = random.randrange(4)
    if kind == 0:
        description = changed_tree(random, description)
    elif kind == 1:
        table = _with_changed_cells(random, table)
    elif kind == 2:
        table = _with_changed_columns(random, table)
    else:
        rows = random.choice((0, 1, 1000, 50_000))
        table = pa.concat_tables([table] * (rows // len(table) + 1))[:rows]
        description["n_ops"] = rows
    text = to_json(description).encode()
    table = table.replace_schema_metadata({METADATA_KEY: text})
    pq.write_table(
        table,
        target,
        row_group_size=random.choice((1, 7, 2**20)),
        compression=random.choice(("zstd", "none", "gzip", "snappy")),
        use_dictionary=random.random() < 0.5,
        data_page_version=random.choice(("1.0", "2.0")),
        store_schema=random.random() < 0.5,
    )


def _with_changed_cells(random: Random, table: pa.Table) -> pa.Table:
    columns = {name: table[name].to_pylist() for name in table.column_names}
    for _ in range(random.choice((1, 1, 2))):
        column = columns[random.choice(list(columns))]
        column[random.randrange(len(column))] = random.choice(NUMBERS)
    arrays = [_array(columns[field.name], field.type) for field in table.schema]
    return pa.table(arrays, schema=table.schema)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Values as a column; whatever the column cannot hold is cut to its width."""
    width = kind.bit_width
    cut = [int(value) % 2**width if value == value and abs(value) < 1e30 else 0 for value in values]
    signed = [v - 2**width if v >= 2 ** (width - 1) and str(kind)[0] == "i" else v for v in cut]
    return pa.array(signed, kind)


def _with_changed_columns(random: Random, table: pa.Table) -> pa.Table:
    index = random.randrange(table.num_columns)
    name, column = table.column_names[index], table.column(index)
    kind = random.randrange(4)
    if kind == 0:
        return table.remove_column(index)
    if kind == 1:
        return table.append_column(random.choice(TEXTS), column)
    if kind == 2:
        return table.rename_columns(
            [random.choice(TEXTS) if each == name else each for each in table.column_names]
        )
    other = random.choice((pa.string(), pa.float64(), pa.int8(), pa.list_(pa.int64())))
    return table.set_column(index, name, pa.nulls(len(table), other))


def experiment(random: Random, base: Path, folder: Path) -> Arguments:
    """An experiment's file."""
    shutil.copy(base / "trace.parquet", folder)
    _write_toml(random, changed_tree(random, EXPERIMENT), folder / "e.toml")
    return ("run", "e.toml", "-o", "out", "-j", "1")


def workload(random: Random, base: Path, folder: Path) -> Arguments:
    """A workload's file."""
    _write_toml(random, changed_tree(random, WORKLOAD), folder / "w.toml")
    return ("simulate", "w.toml", "--policy", random.choice(("glibc", "first_fit")))


def costs(random: Random, base: Path, folder: Path) -> Arguments:
    """A table of unit costs."""
    shutil.copy(base / "trace.parquet", folder)
    table = tomllib.loads((base / "costs.toml").read_text())
    table.pop("steps", None)
    _write_toml(random, changed_tree(random, table), folder / "c.toml")
    return ("simulate", "trace.parquet", "--policy", "first_fit", "--costs", "c.toml")


def machine(random: Random, base: Path, folder: Path) -> Arguments:
    """A machine's file."""
    shutil.copy(base / "trace.parquet", folder)
    _write_toml(random, changed_tree(random, EXPERIMENT["kernel"]), folder / "m.toml")
    return ("simulate", "trace.parquet", "--policy", "first_fit", "--machine", "m.toml")


def claims(random: Random, base: Path, folder: Path) -> Arguments:
    """A claim's file."""
    source = random.choice(sorted((ROOT / "experiments/claims").glob("[ad]_*.toml")))
    _write_toml(random, changed_tree(random, tomllib.loads(source.read_text())), folder / "c.toml")
    return ("claims", "./c.toml", "--json-file", "c.json")


def _write_toml(random: Random, tree: dict[str, Any], path: Path) -> None:
    content = to_toml(tree).encode()
    path.write_bytes(changed_bytes(random, content) if random.random() < 0.2 else content)


def stored(random: Random, base: Path, folder: Path) -> Arguments:
    """Results of an experiment that was run before: a file damaged, missing, or of odd values."""
    shutil.copytree(base / "results", folder / "out")
    for name in ("trace.parquet", "experiment.toml"):
        shutil.copy(base / name, folder)
    files = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
    path = random.choice(files + [path for path in files if path.suffix == ".json"])
    content = path.read_bytes()
    if path.suffix == ".json" and random.random() < 0.7:
        path.write_text(to_json(changed_tree(random, json.loads(content))))
    elif random.random() < 0.1:
        path.unlink()
    else:
        path.write_bytes(changed_bytes(random, content))
    if random.random() < 0.3:
        return ("figures", "out", "-o", "figures")
    return ("run", "experiment.toml", "-o", "out", "-j", "1")


def recording(random: Random, base: Path, folder: Path) -> Arguments:
    """What `record` keeps of a program when its trace cannot be written."""
    if (base / "recording").exists():
        shutil.copytree(base / "recording", folder / "kept")
        path = random.choice(sorted(path for path in (folder / "kept").iterdir()))
        content = path.read_bytes()
        if path.suffix == ".json" and random.random() < 0.6:
            tree = json.loads(content.rstrip(b"\0 \n"))
            path.write_text(to_json(changed_tree(random, tree)))
        elif random.random() < 0.1:
            path.write_bytes(b"")
        else:
            path.write_bytes(_changed_start(random, content))
    return ("trace", "convert", "kept", "-o", "t.parquet")


def _changed_start(random: Random, content: bytes) -> bytes:
    """Damage mostly where the log says what it holds."""
    n_bytes = random.choice((64, 4096, len(content)))
    return changed_bytes(random, content[:n_bytes]) + content[n_bytes:]


def maps(random: Random, base: Path, folder: Path) -> Arguments:
    """A /proc/PID/maps to start from."""
    shutil.copy(base / "trace.parquet", folder)
    words = (base / "maps").read_text().split(" ")
    if random.random() < 0.5:
        words[random.randrange(len(words))] = str(random.choice((*NUMBERS, *TEXTS)))
    content = " ".join(words).encode()
    content = changed_bytes(random, content) if random.random() < 0.5 else content
    (folder / "maps").write_bytes(content)
    start = random.choice(((), ("--start-brk", str(random.choice((*NUMBERS, "0x555555580000"))))))
    return ("simulate", "trace.parquet", "--policy", "first_fit", "--start-maps", "maps", *start)


COMMANDS: tuple[Arguments, ...] = (
    ("simulate", "trace.parquet", "--policy", "glibc", "--set", "mmap_threshold=64K"),
    ("simulate", "trace.parquet", "--tunables", "glibc.malloc.mmap_threshold=65536"),
    ("simulate", "trace.parquet", "--environment", "MALLOC_ARENA_MAX=2", "--cpus", "4"),
    ("simulate", "trace.parquet", "--policy", "first_fit", "--memory", "64M", "--referee"),
    ("simulate", "trace.parquet", "--policy", "first_fit", "--huge-pages", "always", "--json"),
    ("simulate", "trace.parquet", "--policy", "first_fit", "--ops", "o.parquet", "--seed", "3"),
    ("simulate", "trace.parquet", "--policy", "first_fit", "--syscalls", "s.parquet"),
    ("simulate", "trace.parquet", "--policy", "first_fit", "--machine", "overcommit_bytes=8G"),
    ("run", "experiment.toml", "-o", "out", "-j", "1"),
    ("figures", "results", "-o", "figures"),
    ("claims", "a", "--json-file", "c.json"),
    ("layout", "--bits", "32", "--stack-limit", "8388608"),
    ("trace", "info", "trace.parquet", "--check"),
    ("trace", "head", "trace.parquet", "-n", "5"),
    ("trace", "import", "trace.csv", "-o", "t.parquet", "--program", "p", "--notes", "n"),
    ("trace", "export", "trace.parquet", "-o", "t.csv"),
    ("trace", "convert", "recording", "-o", "t.parquet"),
    ("verify", "trace.parquet", "--set", "mmap_threshold=64K", "--cpus", "2"),
    ("measure", "trace.parquet", "--rounds", "1", "--allocator", "glibc", "--set", "top_pad=0"),
    ("record", "-o", "t.parquet", "--", "/bin/true"),
)


def options(random: Random, base: Path, folder: Path) -> Arguments:
    """A command line with a word changed."""
    shutil.copytree(base, folder, dirs_exist_ok=True)
    words = list(random.choice(COMMANDS))
    place = random.randrange(1, len(words))
    if "=" in words[place] and random.random() < 0.8:
        name = words[place].rpartition("=")[0]
        words[place] = f"{name}={_odd_word(random)}"
    elif random.random() < 0.15:
        del words[place]
    else:
        words[place] = _odd_word(random)
    return tuple(words)


def _odd_word(random: Random) -> str:
    """No command line holds a NUL."""
    return str(random.choice((*NUMBERS, *TEXTS))).replace("\0", "")


Kind = Callable[[Random, Path, Path], Arguments]
_ALL = (
    csv, parquet, experiment, workload, costs, machine, claims, stored, recording, maps, options,
)  # fmt: skip
KINDS: dict[str, Kind] = {kind.__name__: kind for kind in _ALL}
