"""The semi-internal parts of numba that compiled components lean on: one smoke test for each.

If one fails after an update of numba, `allocsim.component.records` and `method_compiler` need work
and the range of versions in pyproject.toml must not be widened.
"""

import json
import operator

import numba
import numpy as np
import pytest
from numba import njit, types
from numba.core import event
from numba.core.registry import cpu_target
from numba.core.targetconfig import ConfigStack
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

from allocsim.component.convention import Context, failures
from allocsim.component.linker import object_code, reached
from allocsim.component.machine_code import ARGUMENTS, FAILURE, from_object
from allocsim.component.method_compiler import (
    METHOD_OPTIONS,
    MethodCompiler,
    MethodLibrary,
    remembering_operators,
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


def test_a_compiler_may_bring_its_own_library_and_calling_convention(point):
    """Methods stay intermediate code, and leave what they raise in words of their caller's."""
    made = []

    class Watched(MethodCompiler):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self.state)

    kind, record = new_record("Watched")
    at = cast_to(record)

    def template(self, i):
        def check(self, i):
            if i > 5:
                raise ValueError("too large", i)
            return i

        return check

    options = METHOD_OPTIONS | {"pipeline_class": Watched}
    overload_method(kind, "check", jit_options=options)(template)

    @njit(**options)
    def go(block):
        return at(block).check(7)

    go.compile((types.int64,))
    result = go.overloads[(types.int64,)]
    assert len(made) == 2
    assert all(type(state.library) is MethodLibrary for state in made)
    assert all(type(state.targetctx) is Context for state in made)
    about = json.dumps({"result": "i8", "failures": failures}).encode()
    code = from_object(object_code(result.library, result.fndesc.llvm_func_name, about))
    block = np.zeros(ARGUMENTS, np.int64)
    assert code.function(block.ctypes.data) != 0
    failure = code.failures[block[FAILURE] - 1]
    assert (failure["name"], failure["method"]) == ("ValueError", "check")
    assert failure["arguments"] == [["", "too large"], ["i8", None]]
    assert block[FAILURE + 1] == 7


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


def test_what_methods_call_is_compiled_once_for_callers_with_the_same_flags():
    compiled, callers = [], []

    class Watched(MethodCompiler):
        def compile_extra(self, func):
            compiled.append(func.__name__)
            callers.append(ConfigStack.top_or_none())
            return super().compile_extra(func)

    def base(x):
        raise NotImplementedError

    def base_compiled(x):
        return x + 1

    options = METHOD_OPTIONS | {"pipeline_class": Watched}
    overload(base, jit_options=options)(lambda x: base_compiled)
    for _ in range(2):
        njit(**options)(lambda x: base(x)).compile((types.int64,))
    assert compiled == ["<lambda>", "base_compiled", "<lambda>"]
    assert type(callers[1]).__hash__ is object.__hash__


def test_the_types_of_operators_can_be_remembered():
    asked = []
    context = cpu_target.typing_context
    resolve = context.resolve_function_type

    @njit
    def triple(x):
        return x + x + x

    def counted(function, *others):
        asked.append(getattr(function, "typing_key", None))
        return resolve(function, *others)

    context.resolve_function_type = counted
    with remembering_operators():
        assert triple(7) == 21
    assert asked.count(operator.add) == 1
    assert context.resolve_function_type == resolve


def test_numba_is_in_the_tested_range():
    assert numba.__version__.split(".")[:2] == ["0", "68"]


def test_a_prefetch_is_an_instruction_that_changes_nothing():
    from allocsim.component import native, records

    assert records.native is native  # importing them registers the helpers

    @njit(**METHOD_OPTIONS)
    def look(array, i):
        native.prefetch(array, i)
        return array[0] if native.is_compiled() else -1

    look.compile((types.int64[::1], types.int64))
    (result,) = look.overloads.values()
    texts = [t for each in reached(result.library) for t in getattr(each, "texts", ())]
    assert any("llvm.prefetch" in text for text in texts)
    assert native.prefetch(memoryview(b""), 5) is None and not native.is_compiled()
