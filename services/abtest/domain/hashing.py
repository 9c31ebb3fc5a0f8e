"""GrowthBook's hash, version 2: which of 10,000 buckets a user falls into."""

from functools import lru_cache

BUCKETS = 10_000
_OFFSET_BASIS = 0x811C9DC5
_PRIME = 0x01000193
_MASK = 0xFFFFFFFF


def fnv1a32(text: str, start: int = _OFFSET_BASIS) -> int:
    """Return the 32-bit FNV-1a hash of `text`, taken over its UTF-16 code units as JavaScript sees them.

    `start` is the hash of what comes before `text`.

    Source: G. Fowler, L. C. Noll, K.-P. Vo, draft-eastlake-fnv; GrowthBook's SDKs feed it code units, not
    bytes, so a character outside the Basic Multilingual Plane counts as its two surrogates.

    >>> hex(fnv1a32("a"))
    '0xe40c292c'
    """
    value = start
    for unit in memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H") if text else ():
        value = ((value ^ unit) * _PRIME) & _MASK
    return value


def hash_bucket(seed: str, user_id: str) -> int:
    """Return the user's bucket, 0 to 9,999, under `seed`.

    Source: GrowthBook SDK build-your-own guide, hash version 2: the hash of the decimal digits of the hash
    of seed and id, mod 10,000. GrowthBook's own figure is this over 10,000.

    >>> hash_bucket("seed", "a")
    505
    """
    return fnv1a32(str(fnv1a32(user_id, _hash_seed(seed)))) % BUCKETS


@lru_cache(maxsize=1024)
def _hash_seed(seed: str) -> int:
    """Return the hash of a seed, which one test's users share."""
    return fnv1a32(seed)
