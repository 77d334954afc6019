"""Seeds as pure functions of what they are for, so that neither workers nor a resume can change them."""

import hashlib


def derive_seed(*parts: int | str) -> int:
    """Mix ``parts`` (seed, purpose, epoch, position, rank …) into one seed in ``[0, 2**63)``.

    Unlike ``seed + epoch``, neighbouring inputs share nothing: epoch 1 of seed 42 is not epoch 0 of seed 43.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
