"""Seeds as pure functions of what they are for, so that neither workers nor a resume can change them."""

import hashlib

import torch
from torch import Tensor


def derive_seed(*parts: int | str) -> int:
    """Mix ``parts`` (seed, purpose, epoch, position, rank …) into one seed in ``[0, 2**63)``.

    Unlike ``seed + epoch``, neighboring inputs share nothing: epoch 1 of seed 42 is not epoch 0 of seed 43.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def uniforms(indices: Tensor, seed: int, count: int) -> Tensor:
    """Draw ``count`` numbers in [0, 1) for each of ``indices``, ``(B, count)``, by hashing (seed, index, which draw).

    The hash is SplitMix64 (Steele, Lea and Flood, 2014) in wrapping 64-bit arithmetic.
    """
    x = indices.long()[:, None] * count + torch.arange(count)
    x = (x + 1) * _signed(0x9E3779B97F4A7C15) + seed
    x = (x ^ _shift_right(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift_right(x, 27)) * _signed(0x94D049BB133111EB)
    return _shift_right(x ^ _shift_right(x, 31), 40).float() / 2**24


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _shift_right(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # logical, where int64's own shift keeps the sign
