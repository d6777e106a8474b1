"""The inner loops in plain Python, which the optional numba compiles to vector code.

This file is loaded by `compiled.loops`, where numba is installed, and under one name whatever the
package is called: numba keeps what it compiled on the disk, asks for this name again and looks at
this file's time. So everything that is compiled stands here, and nothing else is imported.

Arguments are contiguous. A `row` is float32, `bits` its bytes as uint32, `stored` and `out` are
16-bit floats as uint16: kind 0 is bfloat16, 1 is float16. Blocks have BLOCK columns.
"""
# ruff: noqa: ANN, D103  # numba infers the types; the module says what the names mean
# mypy: ignore-errors

import numba
import numpy as np

BLOCK = 1024  # at most 255 · 8, see `_agreement`
BITS = 21  # of `linalg.block_gram`

_TO_FLOAT = np.float32(2.0**112)
_LARGEST_F16 = np.float32(65504.0)
_NORMAL_F16 = np.float32(2.0**-14)
_HALF = np.float32(0.5)
_ZERO = np.float32(0.0)

exact = numba.njit(nogil=True, cache=True)
# Sums may be taken in lanes, but what is not finite must stay so: no `nnan`, no `ninf`.
loose = numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
# torch adds a multiple by one fused multiply-add; so does this, where the processor has it.
fused = numba.njit(nogil=True, cache=True, fastmath={"contract"})


@exact
def sum_floats(stored, columns, rows, bits, marks, words, gram, counts, peaks):
    """Add a chunk of float32 rows to the sums of `analysis.compiled`."""
    for low in range(0, columns, BLOCK):
        for i in range(rows.shape[0]):
            _copy(stored[i, low : low + BLOCK], rows[i])
        _sum_block(rows, bits, marks, words, gram, counts, peaks)


@exact
def sum_halves(stored, kind, columns, rows, bits, marks, words, gram, counts, peaks):
    """The same of 16-bit floats as they are stored."""
    for low in range(0, columns, BLOCK):
        for i in range(rows.shape[0]):
            widen(stored[i, low : low + BLOCK], kind, rows[i], bits[i])
        _sum_block(rows, bits, marks, words, gram, counts, peaks)


@exact
def merge_halves(stored, kind, columns, wide, rows, result, places, coefficients, gram, error, out):
    """`execute.linear.kernel`: W = B + Σ c δ of a chunk, rounded once. The products of that
    rounding with the rows and itself are added to the last column of `error`.

    `values` [1 + models + 1 or more]; `rows` may be its part from 1 on: then `own`, the rows are
    the models. Where the rows' Gram is `known`, only the products with W − B are added up.
    """
    models, parents, acting, own, known = places
    (values, bits), (sums, sum_bits) = wide, result
    count, measured = len(models), gram.shape[0] - 1
    for low in range(0, columns, BLOCK):
        high = low + BLOCK
        _deltas(stored, low, kind, values, bits)
        if not own:
            _rows(values, models, parents, rows)
        _add_up(rows, acting, coefficients, rows[count])
        _total(values[0], rows[count], sums[0])
        if count > measured:  # a texture's row has done its part
            _copy(rows[count], rows[measured])
        if known:
            _add_last_column(rows[: measured + 1], gram)
        else:
            _add_upper_gram(rows[: measured + 1], gram)
        _copy(sums[0], sums[1])
        narrow(sums[1], sum_bits[1], kind, out[low:high])
        widen(out[low:high], kind, sums[1], sum_bits[1])
        _subtract(sums[1], sums[0])
        _copy(sums[1], rows[measured])  # W − B is measured
        _add_last_column(rows[: measured + 1], error)


@exact
def gram_halves(stored, kind, columns, wide, rows, whole, places, powers, gram):
    """`linalg.block_gram` of the rows of a chunk, added to the upper half of `gram`.

    `whole` [rows, BLOCK] float64 is room for integers; `powers` are those of two, 1 in the middle.
    """
    models, parents, own = places
    (values, bits), (deltas, delta_bits) = wide, rows
    count, middle = gram.shape[0], len(powers) // 2
    tops, table = np.empty(count, dtype=np.int64), np.empty((count, count), dtype=np.float64)
    for low in range(0, columns, BLOCK):
        _deltas(stored, low, kind, values, bits)
        if not own:
            _rows(values, models, parents, deltas)
        for i in range(count):
            tops[i] = _exponent(delta_bits[i])
            scale = powers[middle + BITS - tops[i]] if tops[i] < 129 else np.nan
            _integers(deltas[i], scale, whole[i])
        table[:] = 0.0
        _add_upper_gram(whole, table)
        for i in range(count):
            twice = middle - 2 * BITS + tops[i]
            for j in range(i, count):
                gram[i, j] += table[i, j] * powers[twice + tops[j]]


@exact
def _exponent(bits):
    """The least e with 2^e above every magnitude; 129 if one is not finite, 0 if all are zero."""
    most = np.int64(_largest(bits, 0))
    if most >= 1 << 23:
        return (most >> 23) - 126
    exponent = -149 if most else 0
    while most:
        most >>= 1
        exponent += 1
    return exponent


@exact
def _integers(row, scale, out):
    for k in range(row.shape[0]):
        out[k] = np.rint(np.float64(row[k]) * scale)


@exact
def _deltas(stored, low, kind, values, bits):
    """A block of the base, and of each model less the base."""
    for i in range(stored.shape[0]):
        widen(stored[i, low : low + BLOCK], kind, values[i], bits[i])
    for i in range(1, stored.shape[0]):
        _subtract(values[i], values[0])


@exact
def _rows(values, models, parents, rows):
    for i in range(len(models)):
        _row(values, models[i], parents[i], rows[i])


@exact
def widen(stored, kind, row, bits):
    """Exactly; infinity becomes NaN where the kind is float16."""
    if kind == 0:
        _widen_bf16(stored, bits)
    else:
        _widen_f16(stored, row, bits)


@exact
def narrow(row, bits, kind, out):
    """Rounded to nearest even; finite values beyond float16 become its largest."""
    if kind == 0:
        _narrow_bf16(bits, out)
    else:
        _narrow_f16(row, bits, out)


@exact
def _sum_block(rows, bits, marks, words, gram, counts, peaks):
    count = rows.shape[0]
    for i in range(1, count):
        _subtract(rows[i], rows[0])
        _mark(rows[i], marks[0, i - 1], marks[1, i - 1])
        peaks[i] = _largest(bits[i], peaks[i])
    _add_upper_gram(rows, gram)
    for i in range(count - 1):
        for j in range(i, count - 1):
            both, against = _agreement(words[0, i], words[0, j], words[1, i], words[1, j])
            counts[0, i, j] += _sum_of_bytes(both)
            counts[1, i, j] += _sum_of_bytes(against)


@exact
def _add_upper_gram(rows, gram):
    """Two rows with two others at a time: of four numbers that are read each serves twice."""
    count, i = rows.shape[0], 0
    while i + 1 < count:
        one, two, three = _two(rows[i], rows[i + 1])
        gram[i, i] += one
        gram[i, i + 1] += two
        gram[i + 1, i + 1] += three
        j = i + 2
        while j + 1 < count:
            one, two, three, four = _two_by_two(rows[i], rows[i + 1], rows[j], rows[j + 1])
            gram[i, j] += one
            gram[i, j + 1] += two
            gram[i + 1, j] += three
            gram[i + 1, j + 1] += four
            j += 2
        if j < count:
            one, two = _one_by_two(rows[j], rows[i], rows[i + 1])
            gram[i, j] += one
            gram[i + 1, j] += two
        i += 2
    if i < count:
        gram[i, i] += _dot(rows[i], rows[i])


@exact
def _add_last_column(rows, gram):
    """Products with the last row only."""
    last, i = rows.shape[0] - 1, 0
    while i < last:
        one, two = _one_by_two(rows[last], rows[i], rows[i + 1])
        gram[i, last] += one
        gram[i + 1, last] += two
        i += 2
    if i == last:
        gram[last, last] += _dot(rows[last], rows[last])


@exact
def _row(values, model, parent, out):
    """D of a model less that of its parent; −1 is the base, whose D is zero."""
    if model >= 0:
        _copy(values[model + 1], out)
    else:
        for k in range(out.shape[0]):
            out[k] = _ZERO
    if parent >= 0:
        _subtract(out, values[parent + 1])


@exact
def _add_up(rows, acting, coefficients, out):
    if not len(acting):
        for k in range(out.shape[0]):
            out[k] = _ZERO
        return
    _scaled(rows[acting[0]], coefficients[acting[0]], out)
    for place in range(1, len(acting)):
        _added(out, rows[acting[place]], coefficients[acting[place]])


@exact
def _copy(row, out):
    for k in range(out.shape[0]):
        out[k] = row[k]


@exact
def _subtract(out, row):
    # In place: given the same row as a third argument, this would not become vector code.
    for k in range(out.shape[0]):
        out[k] -= row[k]


@exact
def _total(a, b, out):
    for k in range(out.shape[0]):
        out[k] = a[k] + b[k]


@exact
def _scaled(row, factor, out):
    for k in range(out.shape[0]):
        out[k] = row[k] * factor


@fused
def _added(out, row, factor):
    for k in range(out.shape[0]):
        out[k] += row[k] * factor


@loose
def _dot(a, b):
    total = _ZERO
    for k in range(a.shape[0]):
        total += a[k] * b[k]
    return total


@loose
def _one_by_two(a, b, c):
    first, second = _ZERO, _ZERO
    for k in range(a.shape[0]):
        x = a[k]
        first += x * b[k]
        second += x * c[k]
    return first, second


@loose
def _two(a, b):
    first, second, third = _ZERO, _ZERO, _ZERO
    for k in range(a.shape[0]):
        x, y = a[k], b[k]
        first += x * x
        second += x * y
        third += y * y
    return first, second, third


@loose
def _two_by_two(a, b, c, d):
    first, second, third, fourth = _ZERO, _ZERO, _ZERO, _ZERO
    for k in range(a.shape[0]):
        x, y, z, w = a[k], b[k], c[k], d[k]
        first += x * z
        second += x * w
        third += y * z
        fourth += y * w
    return first, second, third, fourth


@exact
def _mark(row, positive, nonzero):
    """One byte per element: 1 where it is positive, and 1 where it is not zero."""
    for k in range(row.shape[0]):
        positive[k] = row[k] > _ZERO
        nonzero[k] = row[k] != _ZERO


@exact
def _largest(bits, before):
    """Bits of the largest magnitude of these and `before`; above infinity's for a NaN."""
    most = np.uint32(before)
    for k in range(bits.shape[0]):
        most = max(most, bits[k] & np.uint32(0x7FFFFFFF))
    return most


@exact
def _agreement(positive, positive_too, nonzero, nonzero_too):
    """Two rows' active and conflicting elements, as sums of words of eight one-byte counts.

    A block has 128 words, so that no byte of a sum overflows.
    """
    active, conflict = np.uint64(0), np.uint64(0)
    for k in range(positive.shape[0]):
        both = nonzero[k] & nonzero_too[k]
        active += both
        conflict += both & (positive[k] ^ positive_too[k])
    return active, conflict


@exact
def _sum_of_bytes(word):
    even = np.uint64(0x00FF00FF00FF00FF)
    pairs = (word & even) + ((word >> np.uint64(8)) & even)
    return np.int64((pairs * np.uint64(0x0001000100010001)) >> np.uint64(48))


@exact
def _widen_bf16(stored, bits):
    for k in range(bits.shape[0]):
        bits[k] = np.uint32(stored[k]) << np.uint32(16)


@exact
def _widen_f16(stored, row, bits):
    # The fields of a float16, moved, are those of a float32 whose value is 2^112 too small.
    for k in range(row.shape[0]):
        half = np.uint32(stored[k])
        size = half & np.uint32(0x7FFF)
        bits[k] = (half >> np.uint32(15) << np.uint32(31)) | (size << np.uint32(13))
    for k in range(row.shape[0]):
        row[k] *= _TO_FLOAT
    for k in range(row.shape[0]):  # infinity and NaN would have become 65536 and more
        if stored[k] & np.uint16(0x7C00) == np.uint16(0x7C00):
            row[k] = np.float32(np.nan)


@exact
def _narrow_bf16(bits, out):
    for k in range(out.shape[0]):
        odd = (bits[k] >> np.uint32(16)) & np.uint32(1)
        out[k] = np.uint16((bits[k] + np.uint32(0x7FFF) + odd) >> np.uint32(16))


@exact
def _narrow_f16(row, bits, out):
    # One view of the memory per loop, so that each becomes vector code.
    for k in range(out.shape[0]):
        out[k] = np.uint16((bits[k] >> np.uint32(16)) & np.uint32(0x8000))
    for k in range(row.shape[0]):
        size = abs(row[k])
        row[k] = size if size < _LARGEST_F16 else _LARGEST_F16
    for k in range(out.shape[0]):
        odd = (bits[k] >> np.uint32(13)) & np.uint32(1)
        moved = (bits[k] - np.uint32(0x38000000) + np.uint32(0xFFF) + odd) >> np.uint32(13)
        normal = bits[k] >= np.uint32(0x38800000)  # 2^-14, the smallest normal float16
        out[k] |= np.uint16(moved if normal else np.uint32(0))
    for k in range(row.shape[0]):
        # Beside 1/2 float32 has room for just a subnormal float16, rounded to nearest even.
        row[k] = row[k] + _HALF if row[k] < _NORMAL_F16 else _HALF
    for k in range(out.shape[0]):
        out[k] |= np.uint16(bits[k] - np.uint32(0x3F000000))
