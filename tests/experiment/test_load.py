import pytest

from allocsim.errors import InputError
from allocsim.experiment.load import load_experiment
from allocsim.trace import Op, Trace, write_trace


def refused(path):
    with pytest.raises(InputError) as caught:
        load_experiment(path)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


def test_a_correct_file_is_resolved(experiment_file):
    experiment = load_experiment(experiment_file)
    assert experiment.name == "tiny"
    [workload], [policy] = experiment.workloads, experiment.policies
    assert (workload.name, workload.spec.ops) == ("steady", 50)
    assert (policy.label, policy.policy.__name__) == ("bump", "Bump")
    assert policy.grid == {"threshold": [1, 10, 100]}


def test_everything_wrong_is_told_at_once_with_its_line(experiment_file):
    experiment_file.write_text("""\
name = "a/b"
repeats = -1
sampels = 3
tolerance = "much"
workloads = [
  "chrun",
  { use = "churn", ops = "many", sizes = { sigma = -1.0 } },
  { trace = "absent.parquet" },
  { ops = 3 },
  { name = "y", sizes = { distribution = "lognorm" }, free_ordr = "lifo" },
]

[[policies]]
use = "first_fti"

[[policies]]
use = "bump.py"
parameters = { thresold = 4, pad = 101, threshold = "4 KB" }
[policies.grid]
pad = { from = 1, to = 8, faktor = 2 }

[kernel]
bits = 48
""")
    found = refused(experiment_file)
    expected = [
        "1: name: 'a/b' cannot name a folder of results",
        "2: repeats: must be at least 1, not -1",
        "3: sampels: unknown key 'sampels'; allowed: name, question, ",
        "4: tolerance: must be a number, not the string 'much'",
        "6: workloads[0].use: unknown workload 'chrun'; allowed: ",
        "7: workloads[1].ops: must be an integer, not the string 'many'",
        "7: workloads[1].sizes.sigma: must be greater than 0.0, not -1.0",
        "8: workloads[2].trace: no workload file ",
        "9: workloads[3].sizes: missing; this key is required",
        "10: workloads[4].free_ordr: unknown key 'free_ordr'; allowed: ",
        "10: workloads[4].sizes.distribution: unknown distribution 'lognorm'; allowed: ",
        "14: policies[0].use: unknown policy 'first_fti'; did you mean 'first_fit'?",
        "18: policies[1].parameters.threshold: '4 KB' is no size",
        "20: policies[1].grid.pad: unknown key 'faktor'; allowed: from, to, factor, step; ",
        "23: kernel.bits: unknown value '48'; allowed: 32, 64",
    ]
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("[grid]\nthreshold = [1, 2000000]\n",
         "2: grid.threshold: parameter threshold: 2000000 is out of range; "
         "it is in 0 to 1048576 bytes"),
        ("[grid]\nthresh = [1, 2]\n",
         "2: grid.thresh: unknown parameter of the policies 'thresh'; "
         "allowed: threshold, pad; did you mean 'threshold'?"),
        ('costs = "absent.toml"\n', "1: costs: "),
    ],
)  # fmt: skip
def test_grid_and_costs_must_fit(experiment_file, more, message):
    base = 'policies = ["bump.py"]\nworkloads = ["churn"]\n'
    text = base + more if more.startswith("[") else more + base
    shift = 0 if not more.startswith("[") else 2
    experiment_file.write_text(text)
    line, _, rest = message.partition(":")
    [found] = refused(experiment_file)
    assert found.startswith(f"{int(line) + shift}:{rest}")


def test_what_is_wrong_in_a_used_workload_is_placed_in_its_file(experiment_file, tmp_path):
    (tmp_path / "mine.toml").write_text('ops = 0\n[sizes]\ndistribution = "choice"\nsizes = [0]\n')
    experiment_file.write_text('policies = ["bump.py"]\nworkloads = [{ use = "mine.toml" }]\n')
    first, second = refused(experiment_file)
    assert f"{tmp_path}/mine.toml:1: ops: must be at least 1, not 0" in first
    assert f"{tmp_path}/mine.toml:4: sizes.sizes[0]: must be at least 1, not 0" in second


def test_two_entries_of_one_name_are_refused(experiment_file):
    experiment_file.write_text(
        'workloads = ["churn", { use = "churn", ops = 5 }]\npolicies = ["bump.py", "bump.py"]\n'
    )
    assert refused(experiment_file) == [
        "1: workloads[1].name: 'churn' is what workloads[0] is called already; give one a name",
        "2: policies[1].label: 'bump' is what policies[0] is called already; give one a label",
    ]


def test_a_parameter_cannot_be_fixed_and_swept(experiment_file):
    experiment_file.write_text(
        'workloads = ["churn"]\n[[policies]]\nuse = "bump.py"\n'
        "parameters = { pad = 1 }\ngrid = { pad = [1, 2] }\n"
    )
    assert refused(experiment_file) == [
        "5: policies[0].grid.pad: is fixed in parameters already; keep one of the two"
    ]


def test_the_grid_goes_to_policies_that_have_the_parameter_and_do_not_fix_it(experiment_file):
    experiment_file.write_text("""\
workloads = ["churn"]
[[policies]]
use = "bump.py"
[[policies]]
use = "bump.py"
label = "fixed"
parameters = { threshold = 5 }
[[policies]]
use = "bump.py"
label = "own"
grid = { pad = [1, 2] }
[[policies]]
use = "bump.py"
label = "none"
grid = {}
[[policies]]
use = "first_fit"
[grid]
threshold = ["1 KiB", "2 KiB"]
""")
    grids = {policy.label: policy.grid for policy in load_experiment(experiment_file).policies}
    assert grids == {
        "bump": {"threshold": [1024, 2048]},
        "fixed": {},
        "own": {"pad": [1, 2]},
        "none": {},
        "first_fit": {},
    }


def test_an_entry_alters_the_workload_that_it_uses(experiment_file):
    experiment_file.write_text("""\
policies = ["bump.py"]
[[workloads]]
use = "churn"
name = "more"
ops = 7
sizes = { median = 1000 }
[[workloads]]
use = "churn"
name = "other"
sizes = { distribution = "choice", sizes = ["1 KiB"] }
""")
    more, other = load_experiment(experiment_file).workloads
    assert (more.spec.ops, more.spec.sizes.median, more.spec.sizes.sigma) == (7, 1000, 1.3)
    assert other.spec.sizes.sizes == [1024]


def test_traces_are_found_beside_the_experiment(experiment_file, tmp_path):
    write_trace(tmp_path / "real.parquet", Trace.of(op=[Op.MALLOC], object=[0], size=[8]))
    experiment_file.write_text(
        'policies = ["bump.py"]\n'
        'workloads = ["real.parquet", { trace = "real.parquet", name = "head", ops = 1 }]\n'
    )
    names = [workload.name for workload in load_experiment(experiment_file).workloads]
    assert names == ["real", "head"]


def test_a_file_that_is_no_trace_is_refused(experiment_file, tmp_path):
    (tmp_path / "fake.parquet").write_text("nothing")
    experiment_file.write_text(
        'policies = ["bump.py"]\n'
        'workloads = ["fake.parquet", { trace = "fake.parquet", name = "b" }]\n'
    )
    used, traced = refused(experiment_file)
    assert used.startswith("2: workloads[0].use:") and "not a sound trace file" in used
    assert traced.startswith("2: workloads[1].trace:") and "not a sound trace file" in traced


def test_an_unknown_experiment_is_refused_with_the_shipped_ones():
    with pytest.raises(InputError, match="unknown experiment 'thresold'"):
        load_experiment("thresold")
    with pytest.raises(InputError, match="no such file"):
        load_experiment("absent.toml")
