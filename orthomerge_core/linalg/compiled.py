"""Inner products of a few long rows in compiled code, where the optional numba is installed.

BLAS is made for matrices: of five rows of a hundred thousand it computes every product twice and
packs every number first. Here each row passes the processor's registers once for four others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import Any

import numpy as np

__all__ = ["BLOCK", "WORTH_COMPILING_BYTES", "add_upper_gram", "compile_once", "fingerprint"]

BLOCK = 1024
"""Columns that are multiplied in float32 before they are summed in float64."""

WORTH_COMPILING_BYTES = 1 << 30
"""Less is summed in the time that compiled code takes to load."""

Compiled = Callable[..., Any]


def compile_once(build: Callable[[ModuleType, bool], Compiled]) -> Compiled | None:
    """`build(numba, keep)`, or None without numba (or without one that fits this NumPy).

    `keep` lets numba store what it compiled, which takes a second or two, in its own cache; where
    it finds no folder for that, it compiles in every process. So it does in a program that imports
    this package under a name of its own, as ComfyUI does by the pack's folder: what is stored asks
    for the module's name again, and no other program would find it.
    """
    try:
        import numba
    except ImportError:
        return None
    if not __name__.startswith("orthomerge_core."):
        return build(numba, False)
    try:
        return build(numba, True)
    except (RuntimeError, ImportError):  # no folder, or stored under another name
        return build(numba, False)


def fingerprint(*loops: Callable[..., Any]) -> str:
    """Changes with the code of these functions, and of the products here.

    numba looks at one file's time to see whether what it kept is still true, and a sweep has the
    loops of other files compiled in. It also looks at what a function closes over: a sweep closes
    over this.
    """
    digest = hashlib.sha256(str(BLOCK).encode())
    for function in (*loops, _dot, _four_dots, add_upper_gram):
        code = function.__code__
        inner = [part.co_code for part in code.co_consts if isinstance(part, CodeType)]
        plain = [part for part in code.co_consts if not isinstance(part, CodeType)]
        digest.update(b"".join([code.co_code, *inner, repr(plain).encode()]))
    return digest.hexdigest()


def add_upper_gram(numba: Any, keep: bool) -> Compiled:
    """Compiled (rows [R, C], low, high, gram [R, R]): add the columns' products, upper triangle."""
    # Sums may be taken in lanes, but what is not finite must stay so: no `nnan`, no `ninf`.
    loose = numba.njit(nogil=True, cache=keep, fastmath={"reassoc", "contract", "nsz"})
    dot, dots = loose(_dot), loose(_four_dots)

    @numba.njit(nogil=True, cache=keep)
    def add(rows, low, high, gram):  # type: ignore[no-untyped-def]  # compiled
        count = rows.shape[0]
        for i in range(count):
            a, j = rows[i, low:high], i
            while j + 3 < count:
                b, c = rows[j, low:high], rows[j + 1, low:high]
                d, e = rows[j + 2, low:high], rows[j + 3, low:high]
                first, second, third, fourth = dots(a, b, c, d, e)
                gram[i, j] += first
                gram[i, j + 1] += second
                gram[i, j + 2] += third
                gram[i, j + 3] += fourth
                j += 4
            while j < count:
                gram[i, j] += dot(a, rows[j, low:high])
                j += 1

    found: Compiled = add
    return found


def _dot(a, b):  # type: ignore[no-untyped-def]  # compiled
    total = np.float32(0.0)
    for k in range(a.shape[0]):
        total += a[k] * b[k]
    return total


def _four_dots(a, b, c, d, e):  # type: ignore[no-untyped-def]  # compiled
    first, second = np.float32(0.0), np.float32(0.0)
    third, fourth = np.float32(0.0), np.float32(0.0)
    for k in range(a.shape[0]):
        x = a[k]
        first += x * b[k]
        second += x * c[k]
        third += x * d[k]
        fourth += x * e[k]
    return first, second, third, fourth
