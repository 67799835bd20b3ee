"""Draw random numbers that are the same on every machine: uniforms from PCG64, converted to integers.

Calculations use at most one floating-point multiplication, as the last bit of others may differ between processors.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]


def generator(seed: int) -> np.random.Generator:
    """Return the generator for all draws of one sample."""
    return np.random.Generator(np.random.PCG64(seed))


def integers(rng: np.random.Generator, size: int, below: int | Ints) -> Ints:
    """Return uniform integers from 0 to `below` - 1, where `below` is one number or one for each."""
    draw = rng.random(size)
    draw *= below
    return draw.astype(np.int64)


def choose(rng: np.random.Generator, size: int, table: Sequence[int]) -> Ints:
    """Return entries of a table, each with equal probability; an entry listed twice is twice as likely."""
    return np.asarray(table, np.int64)[integers(rng, size, len(table))]


def spread(rng: np.random.Generator, size: int, quantiles: Sequence[int]) -> Ints:
    """Return integers with the given equally spaced quantiles, uniform between two of them.

    >>> bool((spread(generator(1), 9, (5, 5, 5)) == 5).all())
    True
    """
    table = np.asarray(quantiles, np.int64)
    number = integers(rng, size, (len(table) - 1) << 24)
    step = number >> 24
    number &= 0xFFFFFF
    number *= np.diff(table)[step]
    number >>= 24
    number += table[step]
    return number


def scramble(numbers: Ints, salt: int) -> Words:
    """Return a pseudo-random 64-bit word for each number, distinct for distinct numbers (finalizer of SplitMix64)."""
    word = (numbers.astype(np.uint64) + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ word >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ word >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return word ^ word >> np.uint64(31)
