"""Single numbers in memory, and bits."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from neurofdfa.events.simd.emit import I8, I32, I64, LANES, inline


def _scalar(typed: Any, llvm: Any, align: int) -> tuple[Any, Any]:
    @inline
    def load(context: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.load(builder.inttoptr(args[0], llvm.as_pointer()), align=align)
            return builder.zext(value, I64) if llvm in (I8, I32) else value

        return (types.int64 if llvm in (I8, I32) else typed)(types.int64), codegen

    @inline
    def store(context: Any, address: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.trunc(args[1], llvm) if llvm in (I8, I32) else args[1]
            builder.store(value, builder.inttoptr(args[0], llvm.as_pointer()), align=align)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64 if llvm in (I8, I32) else typed), codegen

    return load, store


load_byte, store_byte = _scalar(types.uint8, I8, 1)


load_i32, store_i32 = _scalar(types.int32, I32, 4)


load_i64, store_i64 = _scalar(types.int64, I64, 8)


load_f64, store_f64 = _scalar(types.float64, ir.DoubleType(), 8)


@inline
def load_float(context: Any, one: Any, address: Any) -> Any:
    """A float of the type of `one`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = ir.FloatType() if signature.args[0] == types.float32 else ir.DoubleType()
        return builder.load(builder.inttoptr(args[1], llvm.as_pointer()))

    return one(one, types.int64), codegen


@inline
def store_float(context: Any, one: Any, address: Any, value: Any) -> Any:
    """Store a float of the type of `one`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = ir.FloatType() if signature.args[0] == types.float32 else ir.DoubleType()
        builder.store(args[2], builder.inttoptr(args[1], llvm.as_pointer()))
        return context.get_dummy_value()

    return types.void(one, types.int64, one), codegen


@inline
def width_of(context: Any, one: Any) -> Any:
    """Bytes of a number of the type of `one`, a constant."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(I64, {types.uint8: 1, types.float32: 4}.get(signature.args[0], 8))

    return types.int64(one), codegen


@inline
def lowest(context: Any, word: Any) -> Any:
    """Number of the lowest bit that is set, 64 if there is none."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), codegen


@inline
def ones(context: Any, word: Any) -> Any:
    """Number of bits that are set."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.int64), codegen


@inline
def compress_bits(context: Any, events: Any, count: Any, first: Any, word: Any) -> Any:
    """Write first + the number of every bit that is set to the int32 from `count` on; returns the new count.

    Needs AVX-512, and room for fifteen more than there are.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        b, (events, count, first, word) = builder, args
        part, vector = ir.IntType(LANES), ir.VectorType(I32, LANES)
        truth = ir.VectorType(ir.IntType(1), LANES)
        undefined = ir.Constant(vector, ir.Undefined)
        start = b.insert_element(undefined, b.trunc(first, I32), ir.Constant(I32, 0))
        start = b.shuffle_vector(start, undefined, ir.Constant(vector, [0] * LANES))
        kind = ir.FunctionType(vector, [vector, vector, truth])
        name = f"llvm.x86.avx512.mask.compress.v{LANES}i32"
        compress = cgutils.get_or_insert_function(b.module, kind, name)
        for k in range(0, 64, LANES):
            bits = b.trunc(b.lshr(word, ir.Constant(I64, k)), part)
            numbers = b.add(start, ir.Constant(vector, [k + lane for lane in range(LANES)]))
            packed = b.call(compress, [numbers, ir.Constant(vector, [0] * LANES), b.bitcast(bits, truth)])
            place = b.add(events, b.shl(count, ir.Constant(I64, 2)))
            b.store(packed, b.inttoptr(place, vector.as_pointer()), align=4)
            count = b.add(count, b.zext(b.ctpop(bits), I64))
        return count

    return types.int64(types.int64, types.int64, types.int64, types.int64), codegen


@inline
def nonzero_bits(context: Any, sample: Any, address: Any, count: Any, odd: Any) -> Any:
    """Which of up to 64 elements differ from 0, as bits; sets the flag at `odd` if one is neither 0 nor 1.

    sample: a number of the elements' type (uint8, float32 or float64). count: at most 64 elements are read.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        b, kind = builder, signature.args[0]
        _, address, count, odd = args
        byte = kind == types.uint8
        element = I8 if byte else ir.FloatType() if kind == types.float32 else ir.DoubleType()
        size = {types.uint8: 1, types.float32: 4}.get(kind, 8)
        width = 64 if byte else LANES
        vector = ir.VectorType(element, width)
        zero = ir.Constant(vector, [0 if byte else 0.0] * width)
        one = ir.Constant(vector, [1 if byte else 1.0] * width)
        truth = ir.VectorType(ir.IntType(1), width)
        load_kind = ir.FunctionType(vector, [vector.as_pointer(), I32, truth, vector])
        name = f"llvm.masked.load.v{width}{'i8' if byte else 'f' + str(8 * size)}.p0"
        masked = cgutils.get_or_insert_function(b.module, load_kind, name)
        word = cgutils.alloca_once_value(b, ir.Constant(I64, 0))

        def part(first: int, keep: Any) -> Any:
            place = b.inttoptr(b.add(address, ir.Constant(I64, first * size)), vector.as_pointer())
            if keep is None:
                x = b.load(place, align=size)
            else:
                x = b.call(masked, [place, ir.Constant(I32, size), keep, zero])
            compare = b.icmp_unsigned if byte else b.fcmp_unordered
            nonzero = compare("!=", x, zero)
            other = b.and_(nonzero, compare("!=", x, one))
            some = b.icmp_unsigned(
                "!=", b.bitcast(other, ir.IntType(width)), ir.Constant(ir.IntType(width), 0)
            )
            bits = (
                b.zext(b.bitcast(nonzero, ir.IntType(width)), I64) if width < 64 else b.bitcast(nonzero, I64)
            )
            return b.shl(bits, ir.Constant(I64, first)), b.zext(some, I64)

        flag = b.inttoptr(odd, I64.as_pointer())
        full = b.icmp_signed(">=", count, ir.Constant(I64, 64))
        with b.if_else(full, likely=True) as (whole, tail):
            for branch, is_tail in ((whole, False), (tail, True)):
                with branch:
                    total, wrong = ir.Constant(I64, 0), ir.Constant(I64, 0)
                    for first in range(0, 64, width):
                        keep = None
                        if is_tail:
                            index = ir.VectorType(I32, width)
                            start = ir.Constant(index, [first + k for k in range(width)])
                            limit = b.insert_element(
                                ir.Constant(index, ir.Undefined), b.trunc(count, I32), ir.Constant(I32, 0)
                            )
                            limit = b.shuffle_vector(
                                limit, ir.Constant(index, ir.Undefined), ir.Constant(index, [0] * width)
                            )
                            keep = b.icmp_signed("<", start, limit)
                        bits, some = part(first, keep)
                        total, wrong = b.or_(total, bits), b.or_(wrong, some)
                    b.store(total, word)
                    with b.if_then(b.icmp_unsigned("!=", wrong, ir.Constant(I64, 0)), likely=False):
                        b.store(ir.Constant(I64, 1), flag)
        return b.load(word)

    return types.int64(sample, types.int64, types.int64, types.int64), codegen


@inline
def shift_right(context: Any, word: Any, by: Any) -> Any:
    """Logical shift of a 64-bit word."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.lshr(args[0], args[1])

    return types.int64(types.int64, types.int64), codegen


@inline
def cast(context: Any, one: Any, value: Any) -> Any:
    """A number in the precision of `one`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return args[1]

    return one(one, one), codegen


@inline
def prefetch(context: Any, address: Any) -> Any:
    """Ask for a cache line that will be read; any address will do."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = I8.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, keep, data = ir.Constant(I32, 0), ir.Constant(I32, 3), ir.Constant(I32, 1)
        builder.call(fetch, [builder.inttoptr(args[0], byte), read, keep, data])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
