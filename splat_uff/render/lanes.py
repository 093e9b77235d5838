"""Vectors of float32 for numba kernels: sixteen pixels, or eight channels, in one value.

By default, the compiler keeps the intermediate values of a block of pixels in memory; as values of
these types they stay in registers. C and Rust call them portable vectors: LLVM splits or widens
them to fit the processor, so a kernel is written once for SSE, AVX2, AVX-512 and NEON.

Compiled code can use `+ - * /` and comparisons between lanes, or between lanes and a float32; `&`
and `|` between masks; and the functions below. Nothing here can be called from plain Python.
"""

# pyright: reportOptionalCall=false, reportCallIssue=false
# numba and llvmlite have no type annotations, and the types inferred for them are wrong.

import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model
from numba.np.arrayobj import make_array

_FLOAT, _BIT, _INT = ir.FloatType(), ir.IntType(1), ir.IntType(32)


class Lanes(types.Type):
    """A vector of `width` float32 values."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(name=f"float32x{width}")


class Mask(types.Type):
    """A vector of `width` truth values."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(name=f"boolx{width}")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Lanes) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(_FLOAT, fe_type.width))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Mask) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(_BIT, fe_type.width))


def _broadcast(builder: Any, value: Any, width: int) -> Any:
    """Copy a scalar to every lane; return lanes unchanged."""
    if isinstance(value.type, ir.VectorType):
        return value
    kind = ir.VectorType(value.type, width)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INT, 0))
    zeros = ir.Constant(ir.VectorType(_INT, width), [0] * width)
    return builder.shuffle_vector(first, undefined, zeros)


def _width_of(args: tuple[types.Type, ...]) -> int | None:
    """Width of an operation on lanes, or on lanes and a float32; None for other operands."""
    widths = {arg.width for arg in args if isinstance(arg, Lanes)}
    fits = all(isinstance(arg, Lanes) or arg == types.float32 for arg in args)
    return widths.pop() if fits and len(widths) == 1 else None


def _define_operator(symbol: Any, result: type[Lanes | Mask], emit: Any) -> None:
    @infer_global(symbol)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            width = _width_of(args)
            return None if width is None else signature(result(width), *args)

    def lower(context, builder, sig, args):
        left, right = (_broadcast(builder, arg, sig.return_type.width) for arg in args)
        return emit(builder, left, right)

    for kinds in ((Lanes, Lanes), (Lanes, types.Float), (types.Float, Lanes)):
        lower_builtin(symbol, *kinds)(lower)


def _arithmetic(name: str) -> Any:
    return lambda builder, left, right: getattr(builder, name)(left, right)


def _comparison(sign: str) -> Any:
    return lambda builder, left, right: builder.fcmp_ordered(sign, left, right)


for _symbol, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_operator(_symbol, Lanes, _arithmetic(_name))
for _symbol, _name in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
):
    _define_operator(_symbol, Mask, _comparison(_name))


@infer_global(operator.and_)
@infer_global(operator.or_)
class _MaskTyping(AbstractTemplate):
    def generic(self, args, kws):
        if len(args) == 2 and isinstance(args[0], Mask) and args[0] == args[1]:
            return signature(args[0], *args)
        return None


@lower_builtin(operator.and_, Mask, Mask)
def _lower_and(context, builder, sig, args):
    return builder.and_(*args)


@lower_builtin(operator.or_, Mask, Mask)
def _lower_or(context, builder, sig, args):
    return builder.or_(*args)


@infer_global(operator.neg)
class _NegTyping(AbstractTemplate):
    def generic(self, args, kws):
        return signature(args[0], *args) if isinstance(args[0], Lanes) else None


@lower_builtin(operator.neg, Lanes)
def _lower_neg(context, builder, sig, args):
    return builder.fneg(args[0])


def _element(context: Any, builder: Any, sig: Any, args: Any, kind: Any) -> Any:
    """Pointer to element `args[1]` of the flat array `args[0]`, as a pointer to `kind`."""
    array = make_array(sig.args[0])(context, builder, args[0])
    return builder.bitcast(builder.gep(array.data, [args[1]]), kind.as_pointer())


def _is_flat_float32(array: types.Type) -> bool:
    return (
        isinstance(array, types.Array)
        and array.dtype == types.float32
        and array.ndim == 1
        and array.layout == "C"
    )


def _loader(width: int) -> Any:
    @intrinsic
    def load(typingctx, array, start):
        if not _is_flat_float32(array):
            return None
        kind = ir.VectorType(_FLOAT, width)

        def emit(context, builder, sig, args):
            return builder.load(_element(context, builder, sig, args, kind), align=4)

        return signature(Lanes(width), array, types.intp), emit

    return load


def _filler(width: int) -> Any:
    @intrinsic
    def fill(typingctx, value):
        def emit(context, builder, sig, args):
            return _broadcast(builder, args[0], width)

        return signature(Lanes(width), types.float32), emit

    return fill


load16, load8, load4 = _loader(16), _loader(8), _loader(4)
"""load(array, start): load the lanes from `start` on from a flat float32 array."""
fill16, fill8 = _filler(16), _filler(8)
"""fill(value): put the same float32 into every lane."""


@intrinsic
def item(typingctx, array, index):
    """Load one float32 of a flat array; unlike `array[index]`, negative indices have no meaning,
    which saves three instructions."""
    if not _is_flat_float32(array):
        return None

    def emit(context, builder, sig, args):
        return builder.load(_element(context, builder, sig, args, _FLOAT))

    return signature(types.float32, array, types.intp), emit


@intrinsic
def store(typingctx, array, start, lanes):
    """Write lanes, or one float32, to a flat float32 array from `start` on; see also `item`."""
    if not _is_flat_float32(array):
        return None
    if not (isinstance(lanes, Lanes) or lanes == types.float32):
        return None

    def emit(context, builder, sig, args):
        place = _element(context, builder, sig, args, args[2].type)
        builder.store(args[2], place, align=4)
        return context.get_dummy_value()

    return signature(types.void, array, types.intp, lanes), emit


@intrinsic
def select(typingctx, mask, chosen, other):
    """Take lanes of `chosen` if the mask is set, else of `other`; either may be a float32."""
    width = _width_of((chosen, other))
    width = mask.width if width is None else width

    def emit(context, builder, sig, args):
        options = (_broadcast(builder, arg, width) for arg in args[1:])
        return builder.select(args[0], *options)

    return signature(Lanes(width), mask, chosen, other), emit


@intrinsic
def any_of(typingctx, mask):
    """Whether the mask is set in any lane."""

    def emit(context, builder, sig, args):
        bits = ir.IntType(mask.width)
        return builder.icmp_unsigned("!=", builder.bitcast(args[0], bits), ir.Constant(bits, 0))

    return signature(types.boolean, mask), emit


@intrinsic
def limited(typingctx, lanes, most):
    """Take `most`, a positive float32, for lanes that are larger, negative or NaN.

    As unsigned integers, the bits of positive floats are in the order of the floats, and those of
    negative floats and NaN come after them.
    """

    def emit(context, builder, sig, args):
        kind = ir.VectorType(_INT, lanes.width)
        one, two = (builder.bitcast(_broadcast(builder, arg, lanes.width), kind) for arg in args)
        least = builder.select(builder.icmp_unsigned("<", one, two), one, two)
        return builder.bitcast(least, args[0].type)

    return signature(lanes, lanes, types.float32), emit


@intrinsic
def bits_of(typingctx, mask):
    """The truth values as bits of an unsigned 64-bit integer, the first lane lowest."""

    def emit(context, builder, sig, args):
        bits = builder.bitcast(args[0], ir.IntType(mask.width))
        return builder.zext(bits, ir.IntType(64))

    return signature(types.uint64, mask), emit


@intrinsic
def lowest_bit(typingctx, word):
    """Position of the lowest bit that is set in an unsigned 64-bit integer other than 0."""
    if word != types.uint64:
        return None

    def emit(context, builder, sig, args):
        kind = args[0].type
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind, _BIT]), "llvm.cttz.i64"
        )
        return builder.call(function, [args[0], ir.Constant(_BIT, 1)])

    return signature(types.int64, word), emit


@intrinsic
def fused(typingctx, one, two, added):
    """Compute `one * two + added`, rounded once if the processor supports it.

    Fusing is explicit because a compiler that is free to fuse does so inconsistently as it inlines:
    a freshly compiled kernel and the same one from the cache would then round differently.
    """
    width = _width_of((one, two, added))
    if width is None:
        return None

    def emit(context, builder, sig, args):
        kind = ir.VectorType(_FLOAT, width)
        name = f"llvm.fmuladd.v{width}f32"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind] * 3), name
        )
        return builder.call(function, [_broadcast(builder, arg, width) for arg in args])

    return signature(Lanes(width), one, two, added), emit


def _function_of_lanes(typingctx: Any, lanes: Any, name: str) -> Any:
    """An LLVM function of lanes with a result for each."""

    def emit(context, builder, sig, args):
        kind = args[0].type
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind]), f"llvm.{name}.v{lanes.width}f32"
        )
        return builder.call(function, args)

    return signature(lanes, lanes), emit


@intrinsic
def magnitude(typingctx, lanes):
    """Absolute value of every lane."""
    return _function_of_lanes(typingctx, lanes, "fabs")


@intrinsic
def root(typingctx, lanes):
    """Square root of every lane."""
    return _function_of_lanes(typingctx, lanes, "sqrt")


@intrinsic
def sums_of_eight(typingctx, v0, v1, v2, v3, v4, v5, v6, v7):
    """Sum of each of eight values of 8 or 16 lanes, as eight lanes.

    Halving them all at once takes a third of the steps of eight separate sums.
    """
    kinds = (v0, v1, v2, v3, v4, v5, v6, v7)

    def emit(context, builder, sig, args):
        one, two = _sum_quarters(builder, args, v0.width)
        low, high = [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]
        return _add_picked(builder, one, two, low, high)

    return signature(Lanes(8), *kinds), emit


@intrinsic
def sums_of_four(typingctx, v0, v1, v2, v3):
    """Sum of each of four values of 8 or 16 lanes, as four lanes."""

    def emit(context, builder, sig, args):
        (sums,) = _sum_quarters(builder, args, v0.width)
        return _add_picked(builder, sums, sums, [0, 1, 2, 3], [4, 5, 6, 7])

    return signature(Lanes(4), v0, v1, v2, v3), emit


def _sum_quarters(builder: Any, values: Any, width: int) -> list[Any]:
    """Reduce each four vectors to one of eight lanes: four sums of one half, then of the other."""
    if width == 16:
        values = [_add_picked(builder, v, v, list(range(8)), list(range(8, 16))) for v in values]
    # Pairs within each group of four lanes, which is how processors shuffle.
    even = [0, 2, 8, 10, 4, 6, 12, 14]
    odd = [index + 1 for index in even]
    for _ in range(2):
        pairs = zip(values[::2], values[1::2], strict=True)
        values = [_add_picked(builder, one, two, even, odd) for one, two in pairs]
    return values


def _add_picked(builder: Any, one: Any, two: Any, first: list[int], second: list[int]) -> Any:
    """Add lanes `first` of `one` and `two`, side by side, to their lanes `second`."""
    picked = (
        builder.shuffle_vector(one, two, ir.Constant(ir.VectorType(_INT, len(index)), index))
        for index in (first, second)
    )
    return builder.fadd(*picked)
