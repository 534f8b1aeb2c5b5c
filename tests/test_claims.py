"""Claims: the ops' language, expressions, files that are refused, verdicts, and each claim itself.

The claims are checked a second time on the real C library: what was predicted must be true of it.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from allocsim.claims import Claim, Prediction, claim_names, judge, load_claim
from allocsim.claims.expression import evaluate, quantities
from allocsim.claims.judgement import Checked, Judgement
from allocsim.claims.leak_check import build_replay, leak_check, lost, ops_header
from allocsim.claims.measure import Observed, Phases, phase_numbers
from allocsim.claims.ops import rows_of, trace_of
from allocsim.claims.spec import claim_path
from allocsim.claims.table import show_bound, show_number
from allocsim.cli import app
from allocsim.errors import AllocsimError, InputError
from allocsim.ground_truth import ReplayNotPermitted, replay, time_replay
from allocsim.trace import Op, Trace

PAGE = 4096
LETTERS = "abcdefghi"
SMALL = """
title = "A block is mapped"
textbook = "It is."
[workloads.one]
take = ["malloc 0 1MiB"]
[runs]
one = { workload = "one", policy = "glibc" }
[[predictions]]
says = "mmap calls"
quantity = "one.take.mmap_calls"
equals = 1
because = "large"
"""


def calls(line: str) -> list[tuple[Op, int]]:
    return [(op, number) for op, number, *_ in rows_of(line)]


# ---------------------------------------------------------------------------------- ops
def test_a_call_says_object_size_and_what_is_written() -> None:
    assert list(rows_of("malloc 3 16KiB")) == [(Op.MALLOC, 3, 16384, 16384, 0)]
    assert list(rows_of("calloc 0 8 unwritten")) == [(Op.CALLOC, 0, 8, 0, 0)]
    assert list(rows_of("touch 0 1 at 500")) == [(Op.TOUCH, 0, 1, 0, 500)]
    assert list(rows_of("free 7")) == [(Op.FREE, 7, 0, 0, 0)]


def test_calls_joined_by_semicolons_take_turns() -> None:
    assert calls("free 0..1; free 5..6; free 9") == [
        (Op.FREE, number) for number in (0, 5, 9, 1, 6, 9)
    ]  # fmt: skip


def test_groups_joined_by_then_follow_each_other_as_often_as_asked() -> None:
    round_ = [(Op.MALLOC, 0), (Op.MALLOC, 1), (Op.FREE, 0), (Op.FREE, 1)]
    assert calls("2 x malloc 0..1 8 then free 0..1") == 2 * round_


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("maloc 0 8", "is no op"),
        ("malloc 0", "size is missing"),
        ("free 0 8", "takes no size"),
        ("malloc -1 8", "is no op"),
        ("malloc 5..3 8", "range of objects is empty"),
        ("malloc 0..3 8; free 0..2", "same length"),
        ("", "is no op"),
        ("malloc \u0663 8", "is no op"),
        ("malloc 0 64KB", "is no op"),
        ("malloc 0 999999999T", "more than a process can address"),
        ("malloc 99999999999999999999 8", "numbers below 1,000,000"),
        ("malloc 0..999999999999 8", "numbers below 1,000,000"),
        ("9999999999999 x malloc 0 8; free 0", "more than 1,000,000 ops"),
    ],
)
def test_a_line_that_is_not_understood_says_why(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        list(rows_of(line))


@pytest.mark.parametrize("size", ["64K", "64KiB", "64 KiB", "65536", "0.0625M"])
def test_sizes_are_read_as_everywhere(size: str) -> None:
    [(*_, n_bytes, written, offset)] = rows_of(f"malloc 0 {size}")
    assert (n_bytes, written, offset) == (65536, 65536, 0)


# ---------------------------------------------------------------------------------- expressions
@pytest.mark.parametrize("text", ["-" * 5000 + "a.b", "(" * 5000 + "a.b", "+".join(["a.b"] * 5000),
                                  f"a.b + {'9' * 400} / 1", "a\0b"])  # fmt: skip
def test_an_expression_that_is_too_long_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no expression|too long") as refusal:
        quantities(text)
    assert len(str(refusal.value)) < 200


def test_expressions_join_numbers_by_name() -> None:
    numbers = {"a.b.c": 6, "a.offset(3)": 4, "d.e": 0}
    assert evaluate("(a.b.c - a.offset(3)) * -2 / 4", numbers) == -1
    assert np.isnan(evaluate("a.b.c / d.e", numbers))
    assert quantities("a.b.c + a.offset(3) / a.b.c") == ["a.b.c", "a.offset(3)"]


@pytest.mark.parametrize(
    "text", ["a.b +", "__import__('os')", "a.b ** 9", "[1]", "a.b if 1 else 2", "12", "a.f(1, 2)"]
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        quantities(text)


def test_an_unknown_quantity_gets_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'run\.use\.brk_calls'"):
        evaluate("run.use.brk_call", {"run.use.brk_calls": 1, "run.use.syscalls": 1})


# ---------------------------------------------------------------------------------- files
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("equals = 1", "", "predictions[0]: give exactly one of"),
        ("equals = 1", "equals = 1\nat_most = 2", "predictions[0]: give exactly one of"),
        ("equals", "eqals", "unknown key 'eqals'"),
        ('"malloc 0 1MiB"', '"malloc 0"', "5: workloads.one.take[0]: 'malloc 0': the size is"),
        ('workload = "one"', 'workload = "two"', "runs.one.workload: unknown workload 'two'"),
        ('"glibc"', '"glib"', "unknown policy 'glib'; did you mean 'glibc'?"),
        ("one.take", "two.take", "predictions[0].quantity: unknown run 'two'"),
        ("one.take.mmap_calls", "one take", "is no expression"),
        (
            'policy = "glibc"',
            'policy = "glibc", parameters = { mmap_treshold = 1 }',
            "runs.one.parameters.mmap_treshold: unknown parameter",
        ),
        (
            'policy = "glibc"',
            'policy = "glibc", parameters = { mmap_threshold = -5 }',
            "runs.one.parameters.mmap_threshold: ",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(SMALL.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_claim(file)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{file}:")


def test_a_quantity_that_the_runs_do_not_have_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(SMALL.replace("one.take.mmap_calls", "one.take.mmap_call"))
    with pytest.raises(InputError, match=r"did you mean 'one\.take\.mmap_calls'"):
        judge("wrong", load_claim(file))


# ---------------------------------------------------------------------------------- verdicts
def checked(value: float | None, **bound: float) -> Checked:
    return Checked(Prediction(says="s", quantity="a.b", because="b", **bound), value)


@pytest.mark.parametrize(
    ("bound", "met", "missed"),
    [("equals", [2], [1, 3]), ("at_least", [2, 3], [1]), ("at_most", [1, 2], [3])],
)
def test_predictions_hold_at_their_bounds(
    bound: str, met: list[float], missed: list[float]
) -> None:
    assert all(checked(value, **{bound: 2}).holds for value in met)
    assert not any(checked(value, **{bound: 2}).holds for value in [*missed, float("nan")])


def test_the_verdict_follows_from_the_predictions(tmp_path: Path) -> None:
    file = tmp_path / "claim.toml"
    file.write_text(SMALL)
    claim = load_claim(file)
    limited = Claim.model_validate(claim.model_dump() | {"limit": "there is one"})

    def verdict(claim: Claim, *found: Checked) -> str:
        return Judgement("x", claim, list(found), {}).verdict

    assert verdict(claim, checked(2, equals=2)) == "holds"
    assert verdict(limited, checked(2, equals=2)) == "holds with a limit"
    assert verdict(limited, checked(2, equals=2), checked(1, equals=2)) == "does not hold"
    assert verdict(claim, checked(None, equals=2)) == "holds"


def test_numbers_are_shown_as_people_read_them() -> None:
    assert [show_number(n) for n in (-978_944, 14.37696, 0.0624)] == ["-978,944", "14.4", "0.0624"]
    assert show_bound(checked(0, at_least=2000).prediction) == "≥ 2,000"


# ---------------------------------------------------------------------------------- the claims
def test_there_is_one_claim_for_each_letter() -> None:
    assert [name.partition("_")[0] for name in claim_names()] == list(LETTERS)


LONG = ("f_brk_pool_saves", "h_leak_without_leak")
MARKED = [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in claim_names()]


@pytest.mark.parametrize("name", MARKED)
def test_every_prediction_of_the_claim_comes_out(name: str) -> None:
    """With the referee on, which changes nothing but looks at every block."""
    found = judge(name, load_claim(claim_path(name)), referee=True)
    assert [c.prediction.says for c in found.checked if not c.holds] == []
    limits = [c for c in found.checked if c.prediction.shows == "limit"]
    assert bool(limits) == bool(found.claim.limit)


@pytest.mark.slow
@pytest.mark.parametrize("name", claim_names())
def test_the_real_c_library_agrees(name: str) -> None:
    """System calls, faults, places in the heap and resident memory under the same settings."""
    claim = load_claim(claim_path(name))
    numbers = {}
    for run_name, run in claim.runs.items():
        phases = Phases.of(claim.workloads[run.workload])
        found = real_numbers(phases, TUNABLES[run.policy] | run.parameters)
        numbers |= {f"{run_name}.{quantity}": value for quantity, value in found.items()}
    compared = [p for p in claim.predictions if set(quantities(p.quantity)) <= set(numbers)]
    assert len(compared) >= 2
    assert [p.says for p in compared if not p.holds(evaluate(p.quantity, numbers))] == []


TUNABLES: dict[str, dict[str, int | float]] = {
    "glibc": {}, "brk_only": {"mmap_max": 0}, "mmap_only": {"mmap_threshold": 0}
}  # fmt: skip


def real_numbers(phases: Phases, tunables: dict[str, int | float]) -> dict[str, float]:
    """What the phases do on the real library; resident memory by replaying up to each one's end."""
    try:
        truth = replay(phases.trace, tunables)
    except (ReplayNotPermitted, InputError) as error:
        pytest.skip(str(error))
    if truth.libc != "2.36":
        pytest.skip(f"predicted for glibc 2.36; this machine has {truth.libc}")
    assert truth.syscalls is not None
    own = truth.syscalls.op >= 0
    observed = Observed(
        addresses=truth.address.astype(np.int64),
        faults=truth.minor_faults.astype(np.int64),
        call_ops=truth.syscalls.op[own],
        call_names=truth.syscalls.name[own],
        heap_start=truth.start_brk,
    )
    numbers = phase_numbers(phases, observed)
    before = 0
    for phase, (_, end) in phases.bounds.items():
        seen = replay(phases.trace[:end], tunables, syscalls=False)
        resident = (seen.resident_pages - seen.start_resident_pages) * PAGE
        numbers[f"{phase}.resident_bytes"] = resident
        numbers[f"{phase}.resident_growth_bytes"] = resident - before
        before = resident
    return numbers


@pytest.mark.slow
def test_real_times_bear_out_what_mapping_every_block_costs() -> None:
    """Claim (e)'s bound on CPU time, for more rounds, so that the clock can tell them apart."""
    (bound,) = [p.at_least for p in load_claim(claim_path("e")).predictions if p.at_least]
    trace = trace_of(["malloc 1 16KiB", "20000 x malloc 0 16KiB; free 0"])
    mapped, pooled = (real_cpu_ns(trace, TUNABLES[name]) for name in ("mmap_only", "glibc"))
    assert mapped >= bound * pooled


def real_cpu_ns(trace: Trace, tunables: dict[str, int | float]) -> int:
    """The least of a few timings: what else the machine does only ever adds."""
    try:
        return min(time_replay(trace, tunables).cpu_ns for _ in range(5))
    except (ReplayNotPermitted, InputError) as error:
        pytest.skip(str(error))


# ---------------------------------------------------------------------------------- leak check
needs_valgrind = pytest.mark.skipif(
    shutil.which("valgrind") is None, reason="valgrind is not installed"
)


@pytest.mark.slow
@needs_valgrind
def test_valgrind_tells_a_leak_from_a_block_that_is_held() -> None:
    """An object whose slot is overwritten by a second malloc is lost, one that stays is not."""
    found = leak_check({"only": ["malloc 0 100", "malloc 1 50", "malloc 2 10", "free 2"]})
    assert (found["definitely_lost_bytes"], found["still_reachable_bytes"]) == (0, 150)
    assert found["live_bytes"] == 150
    assert leak_check({"lose": ["2 x malloc 0 100"]})["definitely_lost_bytes"] == 100


def test_without_valgrind_its_predictions_are_not_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("allocsim.claims.leak_check.shutil.which", lambda _: None)
    found = judge("h", load_claim(claim_path("h")))
    open_ones = [c for c in found.checked if c.value is None]
    assert len(open_ones) == 3
    assert {c.unavailable for c in open_ones} == {"valgrind is not installed"}
    assert found.verdict == "holds"


def test_reports_of_the_leak_checker() -> None:
    report = "definitely lost: 1,024 bytes in 2 blocks\nstill reachable: 5 bytes in 1 blocks"
    assert lost(report) == {
        "definitely_lost_bytes": 1024, "indirectly_lost_bytes": 0, "still_reachable_bytes": 5
    }  # fmt: skip
    assert set(lost("All heap blocks were freed -- no leaks are possible").values()) == {0}
    with pytest.raises(AllocsimError, match="not understood"):
        lost("Segmentation fault")


def test_the_c_program_makes_the_ops_of_the_trace() -> None:
    trace = trace_of(["malloc 0 1MiB unwritten", "touch 0 100 at 5", "free 0"])
    header = ops_header(trace)
    assert "{0, 0, 1048576, 0, 0}," in header
    assert f"{{{int(Op.TOUCH)}, 0, 100, 0, 5}}," in header
    assert build_replay(trace).is_file()


# ---------------------------------------------------------------------------------- command
def test_the_command_shows_the_table_and_writes_json(tmp_path: Path) -> None:
    file = tmp_path / "claims.json"
    ended = CliRunner().invoke(app, ["claims", "a", "g", "--json-file", str(file)])
    assert ended.exit_code == 0
    assert "holds with a limit" in ended.stdout
    assert "131,048 bytes: brk calls" in ended.stdout
    told = json.loads(file.read_text())
    assert list(told["claims"]) == ["a", "g"]
    assert told["claims"]["g"]["numbers"]["fits.request.offset(3)"] == 672
    assert told["claims"]["g"]["predictions"][0]["value"] == 672


def test_the_exit_code_is_1_when_a_prediction_fails(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(SMALL.replace("equals = 1", "equals = 2"))
    ended = CliRunner().invoke(app, ["claims", str(file)])
    assert ended.exit_code == 1
    assert "does not hold" in ended.stdout
    assert "prediction failed" in ended.stdout


def test_an_unknown_claim_is_refused() -> None:
    ended = CliRunner().invoke(app, ["claims", "leak"])
    assert isinstance(ended.exception, InputError)
    assert "unknown claim 'leak'; allowed: a_border" in str(ended.exception)


# ---------------------------------------------------------------------------------- documentation
DOCUMENT = Path(__file__).parents[1] / "docs" / "claims.md"


def block(kind: str) -> str:
    """The one code block of that kind in docs/claims.md."""
    (found,) = re.findall(rf"```{kind}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return found


def test_the_documents_example_of_a_claim_holds(tmp_path: Path) -> None:
    file = tmp_path / "my_claim.toml"
    file.write_text(block("toml"))
    ended = CliRunner().invoke(app, ["claims", str(file)])
    assert ended.exit_code == 0, ended.stdout


def test_the_documents_example_of_the_command_is_what_it_prints() -> None:
    shown = block("console").splitlines()
    assert shown[0] == "$ allocsim claims g"
    printed = CliRunner().invoke(app, ["claims", "g"]).stdout.splitlines()
    assert [line.rstrip() for line in printed if line.strip()] == shown[1:]


def test_the_document_states_every_verdict() -> None:
    for name in claim_names():
        claim = load_claim(claim_path(name))
        (row,) = re.findall(rf"^\| {name[0]} \| (.*)$", DOCUMENT.read_text(), re.MULTILINE)
        assert ("holds with a limit" in row) == bool(claim.limit), name


def test_policies_in_files_are_imported_last_and_refused_on_request(
    tmp_path: Path, allocsim_here: Callable[..., tuple[int, str, str]]
) -> None:
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\nPath(__file__).with_name('imported').touch()\n"
    )
    file = tmp_path / "small.toml"
    mine = SMALL.replace('policy = "glibc"', f'policy = "{tmp_path / "mine.py"}"')
    assert mine != SMALL
    file.write_text(mine)
    code, shown, errors = allocsim_here("claims", file, "--no-code")
    assert (code, shown) == (2, "")
    assert "mine.py would run as code, which --no-code refuses" in errors
    file.write_text(mine.replace("one.take.mmap_calls", "two.take.mmap_calls"))
    code, _, errors = allocsim_here("claims", file)
    assert code == 2
    assert "unknown run 'two'" in errors
    assert not (tmp_path / "imported").exists()
