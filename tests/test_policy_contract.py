"""What a policy may not do costs its author one line, before anything runs if possible."""

import os

import numpy as np
import pytest

from allocsim import Policy
from allocsim.component.entry import NotCompilable
from allocsim.engine import compiling
from allocsim.errors import AllocsimError, InputError, SimulationError
from allocsim.policy import load_policy
from allocsim.simulation import simulate
from allocsim.trace import Op, Trace

TRACE = Trace.of(
    op=[Op.MALLOC, Op.REALLOC, Op.CALLOC, Op.ALIGNED_ALLOC, Op.FREE],
    object=[0, 0, 1, 2, 0],
    size=[100, 200, 300, 400, 0],
    alignment=[0, 0, 0, 16, 0],
)
CALLS = (
    "    def malloc(self, size):\n        return 0\n    def free(self, address):\n        pass\n"
)
A = "from allocsim import Policy\nclass A(Policy):\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (A + CALLS + "    def __init__(self):\n        pass\n", "policy A defines __init__, but"),
        (A + CALLS + "    def run(self):\n        pass\n", "'run', which is allocsim's own name"),
        (A + CALLS + "    tree = 0\n", "'tree', which is allocsim's own name"),
        (A + CALLS + "    kernel = 0\n", "'kernel', which is allocsim's own name"),
        (A + CALLS + "    thread = 'x'\n", "'thread', which is allocsim's own name"),
        (A + CALLS + "    def ranges(self):\n        pass\n", "'ranges', which is allocsim's own"),
        (A + CALLS.replace("(self, size)", "(self)"), "has malloc(self), which must take what"),
        (A + CALLS + "    calloc = 7\n", "has a 'calloc' that is no method"),
        (A + "    def free(self, address):\n        pass\n", "defines no malloc(self, size)"),
        ("x = 1\n", "no class in it is derived from allocsim.Policy"),
        (A + CALLS + "class B(A):\n    pass\n", "several policies, A, B; name one as"),
        ("x = 1\nraise ValueError('a\\nb')\n", "p.py:2: cannot be imported: ValueError: a b"),
        ("import sys\nsys.exit(3)\n", "p.py:2: cannot be imported: SystemExit: 3"),
        ("x = 1\ndef (\n", "p.py:2: "),
        (b"x = '\xe9'\n", "p.py"),
        (b"x = '\0'\n", "null bytes"),
    ],
)
def test_a_file_without_a_policy_that_can_run_is_refused_in_one_line(source, said, tmp_path):
    path = tmp_path / "p.py"
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    with pytest.raises(InputError) as refused:
        load_policy(str(path))
    assert str(refused.value).startswith(str(path))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_only_ordinary_files_are_policies(tmp_path):
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    for name, said in (("folder", "a folder"), ("pipe", "a pipe"), ("none", "No such file")):
        with pytest.raises(InputError, match=said):
            load_policy(f"{tmp_path}/{name}.py")


def test_a_class_is_refused_like_a_file():
    class Initialised(Policy):
        def __init__(self):
            self.blocks = []

        def malloc(self, size):
            return 0

        def free(self, address):
            pass

    with pytest.raises(InputError, match="policy Initialised defines __init__"):
        simulate(TRACE, Initialised)


def test_setup_computes_what_a_policy_starts_with():
    class Prepared(Bump):
        def setup(self):
            self.blocks = [16]

        setup.host_only = True

        def malloc(self, size):
            return super().malloc(size + self.blocks[0])

    assert simulate(TRACE, Prepared).totals["failed_requests"] == 0


class Bump(Policy):
    def malloc(self, size):
        return self.kernel.sbrk((size + 15) & -16)

    def free(self, address):
        pass

    def usable_size(self, address):
        return 16


def returning(value, call="malloc"):
    def method(self, *_):
        return value

    return type("Wrong", (Bump,), {call: method})


@pytest.mark.parametrize("referee", [False, True])
@pytest.mark.parametrize(
    ("value", "shown"), [(None, "None"), (1.5, "1.5"), ("x", "'x'"), (np.float64(3), "3")]
)
def test_what_is_no_address_is_named_with_policy_and_op(value, shown, referee):
    with pytest.raises(SimulationError) as failed:
        simulate(TRACE, returning(value), referee=referee)
    said = str(failed.value)
    assert said.startswith("op 0 (malloc), policy Wrong: malloc returned ")
    assert shown in said
    assert said.endswith("it must return an address, an int, and 0 when memory is exhausted")


@pytest.mark.parametrize(
    ("call", "op"),
    [("realloc", "op 1 (realloc)"), ("calloc", "op 2 (calloc)"), ("aligned_alloc", "op 3")],
)
def test_every_call_that_gives_a_block_is_named(call, op):
    with pytest.raises(SimulationError) as failed:
        simulate(TRACE, returning(None, call))
    assert str(failed.value).startswith(op)
    assert f"policy Wrong: {call} returned None" in str(failed.value)


def test_a_realloc_of_nothing_is_the_policys_malloc():
    trace = Trace.of(op=[Op.REALLOC], object=[0], size=[100])
    with pytest.raises(SimulationError, match="malloc returned None"):
        simulate(trace, returning(None))


def test_a_usable_size_that_is_no_number_is_named():
    with pytest.raises(SimulationError, match=r"op 1 \(realloc\).*: usable_size returned None; "):
        simulate(TRACE, returning(None, "usable_size"))


def test_integers_of_numpy_are_addresses():
    class FromNumpy(Bump):
        def malloc(self, size):
            return np.int64(super().malloc(size))

    plain, numpy = (simulate(TRACE, policy).totals for policy in (Bump, FromNumpy))
    assert numpy["syscalls"] == plain["syscalls"]
    assert numpy["minor_faults"] == plain["minor_faults"]


@pytest.mark.parametrize("address", [-16, 1 << 62, 8])
@pytest.mark.parametrize("referee", [False, True])
def test_addresses_that_no_block_can_have_are_an_error_of_the_policy(address, referee):
    with pytest.raises(AllocsimError, match=r"^op 0 \(malloc\)"):
        simulate(TRACE, returning(address), referee=referee)


def test_what_a_method_raises_is_one_line_with_its_place():
    class Raising(Bump):
        def free(self, address):
            raise ValueError("not\nhere")

    place = r"^op 1 \(realloc\), policy Raising, in free \(test_policy_contract.py:\d+\)"
    with pytest.raises(AllocsimError, match=place + ": ValueError: not here$"):
        simulate(TRACE, Raising)


class SometimesNone(Bump):
    def malloc(self, size):
        if size > 50:
            return None
        return self.kernel.sbrk(4096)


class AlwaysFloat(Bump):
    def malloc(self, size):
        return size * 1.5


@pytest.mark.slow
@pytest.mark.parametrize("policy", [SometimesNone, AlwaysFloat], ids=lambda p: p.__name__)
def test_compiled_types_that_are_no_address_are_named(policy):
    with pytest.raises(NotCompilable, match="aligned_alloc returns something else than an address"):
        simulate(TRACE, policy, mode="compiled")


@pytest.mark.slow
def test_a_run_that_falls_back_to_the_interpreter_names_the_value(monkeypatch):
    monkeypatch.setattr(compiling, "COMPILE_FROM_OPS", 1)
    with (
        pytest.warns(RuntimeWarning, match="running it interpreted"),
        pytest.raises(SimulationError, match=r"malloc returned 150\.0"),
    ):
        simulate(TRACE, AlwaysFloat)
