"""From a kernel's Python to machine code by way of numba: imported only when there is something to compile."""

from __future__ import annotations

from typing import Any, cast

import numba
from llvmlite import binding, ir
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.np import arrayobj

from analyzers.kernels import instructions
from analyzers.kernels.jit import COMPRESSES, Instruction, Kernel
from analyzers.kernels.machine_code import BOOLEAN, NOTHING, SIGNED, UNSIGNED, MachineCode, Objects, Results

# partly typed, partly not
_numba, _cpu, _arrays, _cgutils = cast(tuple[Any, Any, Any, Any], (numba, cpu_target, arrayobj, cgutils))
_types = _numba.types

if COMPRESSES:  # processors that have it no longer slow down when they use vectors of 512 bits
    _numba.config.CPU_FEATURES = binding.get_host_cpu_features().flatten() + ",-prefer-256-bit"

_WORD = ir.IntType(64)
_POINTER = ir.IntType(8).as_pointer()
_OBJECT_HEADER = object.__basicsize__  # a numpy array's fields follow: data, number of dimensions, their sizes, strides
_DATA, _SHAPE, _STRIDES = 0, 16, 24

_dispatchers: dict[Kernel, Any] = {}


def _dispatcher(kernel: Kernel) -> Any:
    if kernel not in _dispatchers:
        options = {"nogil": True, "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        if kernel.forced_inline:
            options["forceinline"] = True
        _dispatchers[kernel] = _numba.njit(**options)(kernel.function)
    return _dispatchers[kernel]


def type_of(callee: Kernel | Instruction) -> Any:
    """numba's type of what a kernel calls."""
    real = _dispatcher(callee) if isinstance(callee, Kernel) else getattr(instructions, callee.name)
    return _cpu.typing_context.resolve_value_type(real)


def compiled(kernel: Kernel, arguments: tuple[Any, ...]) -> MachineCode:
    """The code of a kernel for arguments like these."""
    dispatcher = _dispatcher(kernel)
    signature = tuple(_numba.typeof(argument) for argument in arguments)
    dispatcher.compile(signature)
    made = dispatcher.overloads[signature]
    entry = f"call {made.fndesc.llvm_func_name}"
    codegen = made.library.codegen
    module = binding.parse_assembly(str(_entry(made, entry)))
    module.verify()
    objects = [made.library._get_compiled_object(), codegen._tm.emit_object(module)]
    return MachineCode.made_of(kernel.function.__qualname__, Objects(objects, entry), _results(made.fndesc.restype))


def _entry(made: Any, name: str) -> ir.Module:
    """A function that takes arguments as words, see analyzers.kernels.machine_code -> 0, or not: an exception."""
    context = made.target_context
    module = context.create_module("entry")
    function = made.fndesc
    callee = ir.Function(
        module, context.call_conv.get_function_type(function.restype, function.argtypes), function.llvm_func_name
    )
    words = _WORD.as_pointer()
    caller = ir.Function(module, ir.FunctionType(ir.IntType(32), [words, words]), name)
    builder = ir.IRBuilder(caller.append_basic_block())
    place = 0
    values = []
    for kind in function.argtypes:
        value, place = _argument(context, builder, kind, caller.args[0], place)
        values.append(value)
    status, out = context.call_conv.call_function(builder, callee, function.restype, function.argtypes, values)
    with builder.if_then(status.is_error):
        builder.ret(ir.IntType(32)(1))
    _store(context, builder, function.restype, out, caller.args[1], 0)
    builder.ret(ir.IntType(32)(0))
    return module


def _argument(context: Any, builder: Any, kind: Any, words: Any, place: int) -> tuple[Any, int]:
    """The value of an argument whose first word is at `place` -> and where the next one begins."""
    if isinstance(kind, _types.BaseTuple):
        members = []
        for member in kind:
            value, place = _argument(context, builder, member, words, place)
            members.append(value)
        return context.make_tuple(builder, kind, members), place
    word = builder.load(builder.gep(words, [_WORD(place)]))
    if isinstance(kind, _types.Array):
        return _array(context, builder, kind, builder.inttoptr(word, _POINTER)), place + 1
    if isinstance(kind, _types.Boolean):
        return builder.icmp_unsigned("!=", word, _WORD(0)), place + 1
    if isinstance(kind, _types.Integer):
        return (word if kind.bitwidth == 64 else builder.trunc(word, context.get_value_type(kind))), place + 1
    raise TypeError(f"kernels don't take {kind}")


def _array(context: Any, builder: Any, kind: Any, pointer: Any) -> Any:
    def field(offset: int, target: Any) -> Any:
        at = builder.gep(pointer, [_WORD(_OBJECT_HEADER + offset)])
        return builder.load(builder.bitcast(at, target.as_pointer()))

    shape, strides = field(_SHAPE, _WORD.as_pointer()), field(_STRIDES, _WORD.as_pointer())
    dimensions = range(kind.ndim)
    array = _arrays.make_array(kind)(context, builder)
    _arrays.populate_array(
        array,
        data=field(_DATA, array.data.type),
        shape=[builder.load(builder.gep(shape, [_WORD(d)])) for d in dimensions],
        strides=[builder.load(builder.gep(strides, [_WORD(d)])) for d in dimensions],
        itemsize=context.get_constant(_types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype))),
        meminfo=None,
    )
    return array._getvalue()


def _store(context: Any, builder: Any, kind: Any, value: Any, words: Any, place: int) -> int:
    """Write a result as words from `place` on -> where the next one begins."""
    if isinstance(kind, _types.BaseTuple):
        for member, part in zip(kind, _cgutils.unpack_tuple(builder, value), strict=True):
            place = _store(context, builder, member, part, words, place)
        return place
    if isinstance(kind, _types.NoneType):
        return place
    if value.type.width < 64:
        signed = isinstance(kind, _types.Integer) and kind.signed
        value = builder.sext(value, _WORD) if signed else builder.zext(value, _WORD)
    builder.store(value, builder.gep(words, [_WORD(place)]))
    return place + 1


def _results(kind: Any) -> Results:
    if isinstance(kind, _types.BaseTuple):
        return [_results(member) for member in kind]
    if isinstance(kind, _types.NoneType):
        return NOTHING
    if isinstance(kind, _types.Boolean):
        return BOOLEAN
    if isinstance(kind, _types.Integer):
        return SIGNED if kind.signed else UNSIGNED
    raise TypeError(f"kernels don't return {kind}")
