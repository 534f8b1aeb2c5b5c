"""The public Python API, name by name, through its only door: `import allocsim`."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

import allocsim as al
from allocsim.policy import name_of_class

DOCS = Path(__file__).parents[1] / "docs" / "api.md"
TRACE = al.Trace.of(
    op=[al.Op.MALLOC, al.Op.MALLOC, al.Op.FREE], object=[0, 1, 0], size=[100, 300_000, 0]
)
SMALL = {"ops": 400, "sizes": {"distribution": "choice", "sizes": [64, 200_000]}}


class Pages(al.Policy):
    """A policy of a module that can be imported."""

    reserve = al.Param(4096, "bytes", 4096, 1 << 20, "a mapping is a multiple of this")

    def malloc(self, size):
        start = self.kernel.mmap((size + 16 + self.reserve - 1) & -self.reserve)
        if start > 0:
            self.kernel.store(start, (size + 16 + self.reserve - 1) & -self.reserve)
        return start + 16 if start > 0 else 0

    def free(self, address):
        self.kernel.munmap(address - 16, self.kernel.load(address - 16))

    def usable_size(self, address):
        return self.kernel.load(address - 16) - 16


# ---- names
@pytest.mark.parametrize("name", [n for n in al.__all__ if n != "__version__"])
def test_every_public_name_is_there_and_described(name):
    value = getattr(al, name)
    assert inspect.getdoc(value), name
    if inspect.isfunction(value) and "component" not in value.__module__:
        annotations = inspect.signature(value).parameters.values()
        assert all(p.annotation is not p.empty for p in annotations), name
        assert inspect.signature(value).return_annotation is not inspect.Signature.empty, name


def test_the_page_lists_exactly_the_public_names():
    listed = set(re.findall(r"^\| `(\w+)` \|", DOCS.read_text(), re.MULTILINE))
    assert listed == set(al.__all__) - {"__version__"}


def test_no_module_takes_the_place_of_a_public_name():
    modules = {module.name for module in pkgutil.iter_modules(al.__path__)}
    assert not modules & set(al.__all__)
    importlib.import_module("allocsim.study")
    assert callable(al.sweep) and callable(al.simulate)
    assert set(al.__all__) <= set(dir(al))


def test_the_names_for_type_checkers_are_those_that_are_loaded():
    package = Path(al.__file__)
    checked = next(n for n in ast.parse(package.read_text()).body if isinstance(n, ast.If))
    imported = {alias.name for each in checked.body for alias in each.names}
    assert imported == set(al._MODULES) == set(al.__all__) - {"__version__"}
    assert package.with_name("py.typed").is_file()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = al.simulat


def test_every_block_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    source = "\n".join(blocks)
    (tmp_path / "page.py").write_text(source)
    ended = subprocess.run([sys.executable, "page.py"], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_module_that_sweeps_when_it_is_imported_does_not_do_so_in_workers(tmp_path):
    (tmp_path / "study.py").write_text(
        "import allocsim as al\nfrom pages import Pages\n"
        "print(al.sweep([al.Trace.of(op=[0], object=[0], size=[9])], [Pages]).failed)\n"
    )
    source = inspect.getsource(Pages)
    (tmp_path / "pages.py").write_text(
        f"import allocsim as al\n\n{source}\n"
        "al.sweep([al.Trace.of(op=[0], object=[0], size=[8])], ['glibc'])\n"
    )
    command = [sys.executable, "study.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert "starts a sweep" in ended.stdout


# ---- one run
def test_simulate_takes_names_paths_ops_and_classes(tmp_path):
    from allocsim.trace import write_trace

    write_trace(tmp_path / "t.parquet", TRACE)
    by_ops = al.simulate(TRACE, "glibc")
    by_path = al.simulate(tmp_path / "t.parquet", al.load_policy("glibc"))
    assert by_ops.totals == pytest.approx(by_path.totals, nan_ok=True)
    assert by_ops.totals["mmap_calls"] == 1
    for threshold in ("1 MiB", 1 << 20, np.int64(1 << 20)):
        pinned = al.simulate(TRACE, "glibc", mmap_threshold=threshold)
        assert pinned.totals["mmap_calls"] == 0
    assert al.simulate(TRACE, Pages).totals["mmap_calls"] == 2
    opened = al.simulate(al.open_trace(tmp_path / "t.parquet"), Path(__file__), seed=np.int64(1))
    assert opened.totals["mmap_calls"] == 2
    assert al.simulate(SMALL, "glibc").totals["ops"] == 400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mmap_treshold": 3}, "no parameter 'mmap_treshold'"),
        ({"mmap_threshold": "many"}, "mmap_threshold: 'many' is no size"),
        ({"samples": 0}, "samples: must be at least 1, not 0"),
        ({"samples": "many"}, "samples: must be a whole number, not 'many'"),
        ({"seed": -1}, "seed: must be at least 0"),
        ({"policy": "gibc"}, "glibc"),
        ({"policy": 3}, "policy: a name, a path or a class, not 3"),
        ({"machine": {"cpus": 2}}, "machine: a Machine, such as"),
        ({"workload": 3}, "workload: a name, a path, a table or a trace, not 3"),
        ({"workload": {"ops": 0}}, "workload: ops: "),
    ],
)
def test_what_is_wrong_with_a_call_is_said(arguments, message):
    with pytest.raises(al.InputError, match=message):
        al.simulate(**{"workload": TRACE, **arguments})


def test_a_machine_says_what_is_wrong_with_it():
    with pytest.raises(al.InputError, match="memory_bytes"):
        al.Machine(memory_byte="4 MiB")
    assert al.Machine(memory_bytes="4 MiB").memory_bytes == 4 << 20


def test_samples_are_arrow_with_units():
    samples = al.simulate(TRACE, "glibc", samples=3).samples
    table = pa.table(samples)  # through the interface that pandas and polars take, too
    assert table.num_rows == samples.n_rows == 3
    assert samples.to_arrow().schema.field("resident_bytes").metadata == {b"unit": b"B"}
    assert table["live_bytes"].to_pylist() == samples["live_bytes"].tolist()
    assert "live_bytes" in repr(samples) and "<table>" in samples._repr_html_()


def test_a_result_is_a_table():
    result = al.simulate(TRACE, "glibc")
    assert "peak resident" in repr(result)
    assert result._repr_html_().count("<tr>") == repr(result).count("\n") + 1


def test_a_key_depends_on_all_that_matters_and_on_nothing_else():
    spec = al.RunSpec(TRACE, "glibc", {"mmap_threshold": "64 KiB"})
    same = al.RunSpec(TRACE, "glibc", {"mmap_threshold": 65536}, mode="interpreted")
    assert spec.key == same.key
    others = [
        al.RunSpec(TRACE, "glibc"),
        al.RunSpec(TRACE, "best_fit"),
        al.RunSpec(TRACE, "glibc", {"mmap_threshold": 65536}, samples=3),
        al.RunSpec(TRACE, "glibc", {"mmap_threshold": 65536}, al.Machine(cpus=3)),
        al.RunSpec(TRACE[:2], "glibc", {"mmap_threshold": 65536}),
    ]
    assert len({spec.key, *(other.key for other in others)}) == 6


# ---- sweeps
@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return al.sweep(
        [{"name": "small", **SMALL}, TRACE],
        ["glibc", ("glibc", {"tcache_count": 0}), Pages],
        grid={"mmap_threshold": ["64 KiB", "128 KiB", "1 MiB"]},
        repeats=2,
        folder=tmp_path_factory.mktemp("swept"),
        jobs=1,
    )


def test_a_sweep_runs_everything(swept):
    runs = swept.runs
    assert runs.n_rows == 2 * (3 + 3 + 1) + (3 + 3 + 1)
    assert set(runs["policy"].tolist()) == {"glibc", "glibc tcache_count=0", "Pages"}
    assert {"glibc", f"{__file__}:Pages"} == set(runs["policy_source"].tolist())
    assert not swept.failed
    assert runs.to_arrow().schema.field("cpu_ns").metadata == {b"unit": b"ns"}


def test_its_table_has_means_with_intervals(swept):
    table = swept.table()
    assert table.n_rows == 14
    assert np.all(table["cpu_low_ns"] <= table["cpu_ns"])
    assert np.all(table["cpu_ns"] <= table["cpu_high_ns"])
    assert set(table["policy"].tolist()) == {"glibc", "glibc tcache_count=0", "Pages"}
    assert "14 rows" in repr(table) and repr(swept).startswith("21 runs")


def test_its_figures_are_axes_to_be_changed(swept):
    axes = swept.plot("tradeoff")
    axes[0].set_title("changed")
    assert axes.figure is axes[0].figure
    assert axes._repr_png_().startswith(b"\x89PNG")
    assert len(axes) == 2
    assert swept.plot("over", parameter="mmap_threshold")
    with pytest.raises(al.InputError, match="unknown figure 'tradeof'"):
        swept.plot("tradeof")
    with pytest.raises(al.InputError, match="unknown swept parameter 'x'"):
        swept.plot("over", parameter="x")


def test_results_are_found_again(swept):
    again = al.results(swept.folder)
    assert again.runs["key"].tolist() == swept.runs["key"].tolist()
    assert again.runs["cpu_ns"].tolist() == swept.runs["cpu_ns"].tolist()
    with pytest.raises(al.InputError, match="no results there"):
        al.results(swept.folder / "absent")


def test_a_class_of_a_session_runs_in_this_process():
    seen = []

    class Local(Pages):
        def free(self, address):
            seen.append(address)

    found = al.sweep([TRACE], [Local, "glibc"], jobs=2)
    assert len(seen) == 1
    assert found.runs.n_rows == 2
    folder = found.folder
    assert folder.is_dir()
    del found
    assert not folder.exists()


def test_a_sweep_says_all_that_is_wrong_before_anything_runs():
    with pytest.raises(al.InputError) as caught:
        al.sweep(["chrun"], ["glibc"], grid={"treshold": [1]}, repeats=0)
    for part in ("workloads[0].use: ", "did you mean 'churn'", "grid.treshold", "repeats"):
        assert part in str(caught.value)
    assert ":1:" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workloads": "jq"}, r"workloads: must be a list, such as \['jq'\]"),
        ({"workloads": TRACE}, "workloads: must be a list"),
        ({"policies": al.Policy}, "policies: must be a list"),
        ({"workloads": [3]}, "workloads: each is a name"),
        ({"policies": [3]}, "policies: each is a name"),
        ({"workloads": [TRACE, TRACE]}, "called already; give one a name"),
        ({"grid": {"mmap_threshold": "64 KiB"}}, "grid.mmap_threshold: must be a list"),
        ({"jobs": 0}, "jobs: must be at least 1"),
        ({"machine": {"cpus": 2}}, "machine: a Machine"),
        ({"machine": al.Machine(costs=al.CostTable.free_of_charge())}, "unit costs from a file"),
        ({"repeats": 2, "max_runs": 1, "workloads": ["churn"]}, "allow that many: max_runs=2"),
    ],
)
def test_what_is_wrong_with_a_sweep_is_said(arguments, message):
    with pytest.raises(al.InputError, match=message):
        al.sweep(**{"workloads": [TRACE], "policies": ["glibc"], **arguments})


def test_a_sweep_takes_paths_numpy_and_opened_traces(swept):
    [stored] = (swept.folder / "traces").iterdir()
    found = al.sweep(
        [{"trace": TRACE, "name": "mine"}, al.open_trace(stored)],
        [Path(__file__), (Path(__file__), {"reserve": np.int64(8192)})],
        grid={"reserve": 4096 * np.arange(1, 3)},
        repeats=np.int64(1),
        machine=al.Machine(costs=al.CostTable.load()),
    )
    table = found.table()
    assert table["workload"].tolist() == ["mine"] * 3 + [stored.stem] * 3
    assert table["policy"].tolist() == ["test_api", "test_api", "test_api reserve=8192"] * 2


def test_classes_of_one_name_are_told_apart():
    def pages_of(grain):
        class Local(Pages):
            def malloc(self, size):
                return self.kernel.mmap(grain) + 16

        return Local

    small, large = pages_of(1 << 20), pages_of(2 << 20)
    found = al.sweep([TRACE], [(small, {}), {"use": name_of_class(large), "label": "large"}])
    assert found.runs["mapped_peak_bytes"].tolist() == [2 << 20, 4 << 20]


def test_what_was_finished_before_ctrl_c_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    class Interrupts(Pages):
        def malloc(self, size):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"allocsim\.results\('.*'\)") as caught:
        al.sweep([TRACE], ["glibc", Interrupts], jobs=1)
    folder = str(caught.value).split("'")[1]
    assert al.results(folder).runs["policy"].tolist() == ["glibc"]


def test_a_refused_sweep_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(al.InputError):
        al.sweep([TRACE], ["gibc"])
    assert not list(tmp_path.iterdir())


class Notebook(ModuleType):
    """IPython's module for output, and the last that it shows."""

    def __init__(self):
        super().__init__("IPython.display")
        self.shown = ""

    def HTML(self, text):
        self.shown = text

    def display(self, _html, display_id):
        return SimpleNamespace(update=lambda _html: None)


def test_a_notebook_shows_a_bar_and_what_failed(monkeypatch):
    class Broken(Pages):
        def malloc(self, size):
            return self.kernel.load(8)

    notebook = Notebook()
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    al.sweep([TRACE], [Broken, "glibc"])
    assert '<progress value="2" max="2"></progress> 2 of 2 runs, 1 failed' in notebook.shown
    assert "<br>failed trace-" in notebook.shown and "segmentation fault" in notebook.shown


def test_a_range_by_factor():
    assert al.log_range("64 KiB", "256 KiB") == [65536, 131072, 262144]
    with pytest.raises(al.InputError, match=r"log_range: from \(3\)"):
        al.log_range(3, 2)


def test_a_failing_run_is_told_and_costs_the_others_nothing(tmp_path):
    class Broken(Pages):
        def malloc(self, size):
            return self.kernel.load(8)

    found = al.sweep([TRACE], [Broken, "glibc"])
    assert found.runs.n_rows == 1
    assert "Broken" in found.failed[0]["message"]
    alone = al.sweep([TRACE], [Broken])
    assert alone.runs.n_rows == 0 and len(alone.failed) == 1
    with pytest.raises(al.InputError, match="nothing to draw"):
        alone.plot()


def test_an_experiment_is_loaded_and_run(tmp_path):
    file = tmp_path / "e.toml"
    file.write_text('policies = ["glibc"]\n[[workloads]]\nname = "s"\nops = 300\n'
                    '[workloads.sizes]\ndistribution = "choice"\nsizes = [64]\n')  # fmt: skip
    experiment = al.Experiment.load(file)
    assert (experiment.name, experiment.n_runs) == ("e", 1)
    assert experiment.run(tmp_path / "out").runs.n_rows == 1
    (tmp_path / "mine.py").write_text("raise SystemExit")
    file.write_text('policies = ["mine.py"]\nworkloads = ["churn"]\n')
    with pytest.raises(al.InputError, match="no-code"):
        al.Experiment.load(file, no_code=True)


# ---- reality
@pytest.mark.slow
def test_record_and_verify(tmp_path):
    recording = al.record(["sort", "--version"], tmp_path / "t.parquet")
    assert recording.exit_code == 0
    assert al.open_trace(tmp_path / "t.parquet").n_ops > 0
    assert al.verify(tmp_path / "t.parquet", {"mmap_threshold": 4096}).equal
    assert al.verify(TRACE, mmap_threshold="4 KiB").equal
    for command in ([], "sort --version"):
        with pytest.raises(al.InputError, match="command: a list"):
            al.record(command, tmp_path / "u.parquet")
