"""The semi-internal parts of numba that compiled components lean on: one smoke test for each.

If one fails after an update of numba, `allocsim.component.records` and `method_compiler` need work
and the range of versions in pyproject.toml must not be widened.
"""

import numba
import numpy as np
import pytest
from numba import njit, types
from numba.core import event
from numba.core.codegen import JITCodeLibrary
from numba.core.typing.templates import (
    AttributeTemplate,
    infer_getattr,
    make_overload_attribute_template,
)
from numba.extending import (
    intrinsic,
    models,
    overload,
    overload_attribute,
    overload_method,
    register_model,
)

from allocsim.component.method_compiler import (
    EntryCompiler,
    EntryLibrary,
    MethodCompiler,
    MethodLibrary,
    set_environments,
    without_timers,
)

POINT = np.dtype([("x", "i8"), ("y", "i8")])


def new_record(name: str) -> tuple[type, types.Record]:
    kind = type(name, (types.Record,), {})
    register_model(kind)(models.RecordModel)
    fields = [("x", {"type": types.int64, "offset": 0}), ("y", {"type": types.int64, "offset": 8})]
    record = kind(fields, POINT.itemsize, True)
    record.name = name
    return kind, record


def cast_to(record: types.Record):
    @intrinsic
    def at(context, address):
        def cast(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return record(types.int64), cast

    return at


def attach(kind: type, factor: int) -> None:
    """A method `scaled` and a constant FACTOR."""
    overload_attribute(kind, "FACTOR")(lambda self: lambda self: factor)
    overload_method(kind, "scaled")(lambda self, by: lambda self, by: self.x * by * factor)


@pytest.fixture
def point() -> np.ndarray:
    return np.array([(3, 4)], POINT)


def test_a_subclass_of_record_is_a_type_of_its_own_reached_by_address(point):
    _, record = new_record("Alone")
    at = cast_to(record)

    @njit
    def move(address):
        at(address).x += 10
        return at(address).y

    assert move(point.ctypes.data) == 4
    assert point["x"][0] == 13


def test_methods_and_attributes_attach_to_one_record_type_only(point):
    (one, first), (other, second) = new_record("First"), new_record("Second")
    for kind, factor in ((one, 1), (other, 100)):
        attach(kind, factor)
    at_first, at_second = cast_to(first), cast_to(second)

    @njit
    def go(address):
        return at_first(address).scaled(2) + at_second(address).FACTOR

    assert go(point.ctypes.data) == 3 * 2 * 1 + 100


@pytest.mark.parametrize("option", ["forceinline", "boundscheck"])
def test_overloads_take_compiler_options(point, option):
    kind, record = new_record(f"With{option}")
    at = cast_to(record)

    def template(self, i):
        return lambda self, i: np.zeros(3)[i]

    overload_method(kind, "item", jit_options={option: True})(template)

    @njit
    def go(address, i):
        return at(address).item(i)

    assert go(point.ctypes.data, 2) == 0
    if option == "boundscheck":
        with pytest.raises(IndexError):
            go(point.ctypes.data, 3)


def test_a_compiler_may_bring_its_own_library(point):
    """Methods stay intermediate code; exceptions with arguments still find their environment."""
    made = []

    class Watched(MethodCompiler):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self.state.library)

    kind, record = new_record("Watched")
    at = cast_to(record)

    def template(self, i):
        def check(self, i):
            if i > 5:
                raise ValueError("too large", i)
            return i

        return check

    options = {"pipeline_class": Watched, "no_cfunc_wrapper": True, "no_cpython_wrapper": True}
    overload_method(kind, "check", jit_options=options)(template)

    @njit(pipeline_class=EntryCompiler)
    def go(address, i):
        return at(address).check(i)

    signature = (types.int64, types.int64)
    go.compile(signature)
    set_environments(go, signature)
    assert type(go.overloads[signature].library) is EntryLibrary
    assert go(point.ctypes.data, 5) == 5
    with pytest.raises(ValueError, match="too large"):
        go(point.ctypes.data, 7)
    assert made
    assert all(type(library) is MethodLibrary for library in made)
    assert issubclass(MethodLibrary, JITCodeLibrary)


def test_the_dispatcher_compiles_for_a_signature_and_keeps_it():
    @njit
    def add(a, b):
        return a + b

    signature = (types.int64, types.int64)
    add.compile(signature)
    assert signature in add.overloads


def test_compilations_can_go_untimed():
    @njit
    def add(a, b):
        return a + b

    timed = event.install_timer
    with without_timers():
        assert add(1, 2) == 3
    assert event.install_timer is timed


def test_templates_of_attributes_can_be_found_by_name(point):
    """What `records._look_up` does: one template that knows all others."""
    kind, record = new_record("Named")
    at = cast_to(record)

    def getter(self):
        return lambda self: self.x + 1

    overload(getter)(getter)
    after = make_overload_attribute_template(kind, "after_x", getter)

    class Attributes(AttributeTemplate):
        key = kind

        def generic_resolve(self, record, name):
            return after(self.context).resolve(record, name) if name == "after_x" else None

    infer_getattr(Attributes)

    @njit
    def go(address):
        return at(address).after_x + at(address).y

    assert go(point.ctypes.data) == (3 + 1) + 4


def test_numba_is_in_the_tested_range():
    assert numba.__version__.split(".")[:2] == ["0", "68"]


def test_a_prefetch_is_an_instruction_that_changes_nothing():
    from allocsim.component import compiler, native

    assert compiler.NotCompilable  # importing it registers the helpers

    @njit(pipeline_class=EntryCompiler)
    def look(array, i):
        native.prefetch(array, i)
        return array[0] if native.is_compiled() else -1

    assert look(np.array([7, 8]), 1) == look(np.array([7, 8]), 1 << 40) == 7
    assert "llvm.prefetch" in next(iter(look.inspect_llvm().values()))
    assert native.prefetch(memoryview(b""), 5) is None and not native.is_compiled()
