"""The engine's inner loops, written for LLVM's vector types through numba.

Everything here works on raw addresses: a kernel's caller lays its memory out once, and one loop over
sixteen-lane vectors serves every layer on every machine. LLVM splits the vectors to what the processor has
(AVX-512: one register, AVX2: two, NEON: four). `lanes` is a tuple whose length is the number of vectors
that a panel of neurons spans, `one` a float whose type is the precision: both are compile-time constants.
"""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from llvmlite import binding, ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic

inline: Any = intrinsic
"""Numba's decorator for what is written in LLVM's language: kernels take its result for untyped."""

LANES = 16

Lanes: TypeAlias = tuple[int, ...]
"""A tuple whose length is the number of vectors that a panel spans."""

ROWS = 6
"""Rows of a tile of the matrix product: 6 × 4 accumulators, 4 weights and 1 broadcast fill 29 registers."""


I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)


FAST = ("contract", "nsz", "reassoc")


def _has_avx512() -> bool:
    """Whether numba compiles for AVX-512: its environment variables may ask for less than there is."""
    if config.CPU_FEATURES is not None:
        return "+avx512f" in config.CPU_FEATURES.split(",")
    return config.CPU_NAME is None and bool(binding.get_host_cpu_features().get("avx512f"))


AVX512 = _has_avx512()


class Emit:
    """A thin layer over an IR builder for one float type and one number of vectors."""

    def __init__(self, builder: Any, one: Any, vectors: int) -> None:
        self.b = builder
        self.ft = ir.FloatType() if one == types.float32 else ir.DoubleType()
        self.size = 4 if one == types.float32 else 8
        self.vt = ir.VectorType(self.ft, LANES)
        self.vectors = vectors

    def const(self, value: int) -> Any:
        """A 64-bit integer."""
        return ir.Constant(I64, value)

    def splat(self, scalar: Any) -> Any:
        """A scalar in all lanes."""
        start = self.b.insert_element(ir.Constant(self.vt, ir.Undefined), scalar, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
        return self.b.shuffle_vector(start, ir.Constant(self.vt, ir.Undefined), zeros)

    def full(self, value: float) -> Any:
        """A constant in all lanes."""
        return ir.Constant(self.vt, [value] * LANES)

    def pointer(self, address: Any, to: Any) -> Any:
        """An address as a pointer."""
        return self.b.inttoptr(address, to.as_pointer())

    def offset(self, address: Any, vector: int) -> Any:
        """Address of a vector of a row."""
        return self.b.add(address, self.const(vector * LANES * self.size))

    def load(self, address: Any, vector: int = 0) -> Any:
        """Read a vector of a row."""
        return self.b.load(self.pointer(self.offset(address, vector), self.vt), align=self.size)

    def store(self, value: Any, address: Any, vector: int = 0) -> None:
        """Write a vector of a row."""
        self.b.store(value, self.pointer(self.offset(address, vector), self.vt), align=self.size)

    def prefetch(self, address: Any) -> None:
        """Ask for a row that will be read and written; any address will do."""
        byte = I8.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        fetch = cgutils.get_or_insert_function(self.b.module, kind, "llvm.prefetch.p0")
        numbers = [ir.Constant(I32, k) for k in (0, 3, 1)]
        for line in range(0, self.vectors * LANES * self.size, 64):
            self.b.call(fetch, [self.pointer(self.b.add(address, self.const(line)), I8), *numbers])

    def load_scalar(self, address: Any) -> Any:
        """Read one number."""
        return self.b.load(self.pointer(address, self.ft), align=self.size)

    def row(self, base: Any, index: Any, pitch: Any) -> Any:
        """Address of a row."""
        return self.b.add(base, self.b.mul(index, pitch))

    def mul_add(self, x: Any, y: Any, z: Any) -> Any:
        """Compute x · y + z, fused where the processor can."""
        return self.b.fadd(self.b.fmul(x, y, flags=FAST), z, flags=FAST)

    def variables(self, initial: Sequence[Any]) -> list[Any]:
        """Mutable vectors; LLVM turns them into registers."""
        slots = [cgutils.alloca_once(self.b, v.type) for v in initial]
        for slot, value in zip(slots, initial, strict=True):
            self.b.store(value, slot)
        return slots

    def each_row(self, rows: Any, count: Any) -> Any:
        """Loop over a list of one-byte row numbers."""
        return _Rows(self, rows, count)

    def absolute(self, x: Any) -> Any:
        """|x|."""
        return self.b.call(self.function("llvm.fabs", 1), [x])

    def maximum(self, x: Any, y: Any) -> Any:
        """The larger of two."""
        return self.b.select(self.b.fcmp_ordered(">", x, y), x, y)

    def exponential(self, x: Any) -> Any:
        """e^x to 2 units in the last place (float32) by range reduction and a polynomial."""
        if self.size == 8:
            return self.b.call(self.function("llvm.exp", 1), [x])
        b, it = self.b, ir.VectorType(I32, LANES)
        x = self.maximum(x, self.full(-87.0))
        x = b.select(b.fcmp_ordered("<", x, self.full(88.0)), x, self.full(88.0))
        # a rounding by adding and subtracting 1.5 · 2^23 would be optimised away under fastmath
        n = b.call(self.function("llvm.rint", 1), [b.fmul(x, self.full(1.4426950408889634))])
        r = self.mul_add(n, self.full(-0.693359375), x)
        r = self.mul_add(n, self.full(2.12194440e-4), r)
        p = self.full(1.9875691500e-4)
        for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
            p = self.mul_add(p, r, self.full(c))
        p = self.mul_add(b.fmul(p, r), r, b.fadd(r, self.full(1.0)))
        bits = b.shl(b.fptosi(n, it), ir.Constant(it, [23] * LANES))
        return b.bitcast(b.add(b.bitcast(p, it), bits), self.vt)

    def reciprocal(self, x: Any) -> Any:
        """1/x; in float32 with AVX-512 an estimate and one Newton step, 2^−23 relative."""
        if self.size == 8 or not AVX512:
            return self.b.fdiv(self.full(1.0), x)
        mask = ir.IntType(16)
        kind = ir.FunctionType(self.vt, [self.vt, self.vt, mask])
        rcp = cgutils.get_or_insert_function(self.b.module, kind, "llvm.x86.avx512.rcp14.ps.512")
        r = self.b.call(rcp, [x, self.full(0.0), ir.Constant(mask, 0xFFFF)])
        return self.b.fmul(r, self.b.fsub(self.full(2.0), self.b.fmul(x, r, flags=FAST), flags=FAST))

    def bits(self, mask: Any) -> Any:
        """A vector of sixteen truth values as the low bits of a 64-bit integer."""
        return self.b.zext(self.b.bitcast(mask, ir.IntType(LANES)), I64)

    def mask(self, word: Any, vector: int) -> Any:
        """Sixteen truth values from bits 16·vector and up of a 64-bit integer."""
        part = self.b.trunc(self.b.lshr(word, self.const(vector * LANES)), ir.IntType(LANES))
        return self.b.bitcast(part, ir.VectorType(ir.IntType(1), LANES))

    def function(self, name: str, arguments: int) -> Any:
        """An LLVM intrinsic on vectors."""
        suffix = f"v{LANES}f{8 * self.size}"
        kind = ir.FunctionType(self.vt, [self.vt] * arguments)
        return cgutils.get_or_insert_function(self.b.module, kind, f"{name}.{suffix}")


class _Rows:
    def __init__(self, emit: Emit, rows: Any, count: Any) -> None:
        self.emit, self.rows = emit, rows
        self.loop = cgutils.for_range(emit.b, count)

    def __enter__(self) -> Any:
        index = self.loop.__enter__().index
        e = self.emit
        byte = e.b.load(e.pointer(e.b.add(self.rows, index), I8), align=1)
        return e.b.zext(byte, I64)

    def __exit__(self, *error: Any) -> None:
        self.loop.__exit__(*error)


def kernel(floats: int, integers: int) -> Callable[[Callable[..., None]], Any]:
    """Make an intrinsic `f(lanes, one, float…, integer…)` from a function that emits its body.

    The floats have the type of `one`, the integers are 64 bits (counts, strides in bytes, addresses).
    """

    def decorate(body: Callable[..., None]) -> Any:
        def typer(context: Any, lanes: Any, one: Any, arguments: Any) -> Any:
            signature = types.void(lanes, one, types.Tuple([one] * floats + [types.int64] * integers))

            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                emit = Emit(builder, signature.args[1], len(signature.args[0]))
                body(emit, *cgutils.unpack_tuple(builder, args[2]))
                return context.get_dummy_value()

            return signature, codegen

        typer.__name__ = body.__name__
        typer.__doc__ = body.__doc__
        return inline(typer)

    return decorate
