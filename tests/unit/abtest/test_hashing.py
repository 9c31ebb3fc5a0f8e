"""The hash and the bucketing, against GrowthBook's published vectors (growthbook SDK cases.json, MIT)."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.abtest.domain.assignment import bucket_ranges, choose_group
from services.abtest.domain.hashing import BUCKETS, fnv1a32, hash_bucket

# GrowthBook's cases.json, "hash", version 2: seed, id, expected.
HASH_VECTORS = [
    ("seed", "a", 0.0505),
    ("seed", "b", 0.2696),
    ("foo", "ab", 0.2575),
    ("foo", "def", 0.2019),
    ("89123klj", "8952klfjas09ujkasdf", 0.124),
    ("90850943850283058242805", "123", 0.7516),
    ("()**(%$##$%#$#", '___)((*":&', 0.0128),
]
# GrowthBook's cases.json, "chooseVariation": position, ranges, expected (-1 is none).
CHOICE_VECTORS: list[tuple[float, list[tuple[float, float]], int]] = [
    (0.2, [(0, 0.5), (0.5, 1)], 0),
    (0.5, [(0, 0.5), (0.5, 1)], 1),
    (0.25, [(0, 0.25), (0.5, 0.75)], -1),
    (0.5, [(0, 0.5), (0.5, 0.5), (0.5, 1)], 2),
]
# GrowthBook's cases.json, "getBucketRange": weights, coverage, expected.
RANGE_VECTORS: list[tuple[list[float], float, list[tuple[float, float]]]] = [
    ([0.5, 0.5], 1, [(0, 0.5), (0.5, 1)]),
    ([0.5, 0.5], 0.5, [(0, 0.25), (0.5, 0.75)]),
    ([0.2, 0.3, 0.5], 0.2, [(0, 0.04), (0.2, 0.26), (0.5, 0.6)]),
]


def published(section: str) -> list[list[Any]]:
    """Return a section of the published vectors; skip where their folder is absent."""
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("SHARED_DATA_DIR", beside))
    path = folder / "hash_vectors" / "growthbook.json"
    if not path.exists():
        pytest.skip("the published hash vectors are not here")
    vectors: list[list[Any]] = json.loads(path.read_text(encoding="utf-8"))[section]
    return vectors


def accepted(weights: list[float]) -> bool:
    """Whether CreateTest takes these weights."""
    return abs(sum(weights) - 1) <= 1e-9


@pytest.mark.parametrize(("seed", "user_id", "expected"), HASH_VECTORS)
def test_hash_gives_the_published_figures(seed: str, user_id: str, expected: float) -> None:
    assert hash_bucket(seed, user_id) / BUCKETS == expected


@pytest.mark.parametrize(("position", "ranges", "expected"), CHOICE_VECTORS)
def test_choice_gives_the_published_groups(
    position: float, ranges: list[tuple[float, float]], expected: int
) -> None:
    chosen = choose_group(position, ranges)
    assert (-1 if chosen is None else chosen) == expected


@pytest.mark.parametrize(("weights", "coverage", "expected"), RANGE_VECTORS)
def test_ranges_are_the_published_ones(
    weights: list[float], coverage: float, expected: list[tuple[float, float]]
) -> None:
    assert bucket_ranges(weights, coverage) == [pytest.approx(pair) for pair in expected]


def test_every_published_hash_of_version_2_agrees() -> None:
    vectors = [row for row in published("hash") if row[2] == 2]
    assert len(vectors) >= 7
    for seed, user_id, _, expected in vectors:
        assert hash_bucket(seed, user_id) / BUCKETS == expected, (seed, user_id)


def test_every_published_choice_agrees() -> None:
    vectors = published("chooseVariation")
    assert len(vectors) >= 13
    for name, position, ranges, expected in vectors:
        chosen = choose_group(position, ranges)
        assert (-1 if chosen is None else chosen) == expected, name


def test_every_published_range_with_weights_we_accept_agrees() -> None:
    checked = 0
    for name, (groups, coverage, weights), expected in published("getBucketRange"):
        used = weights or [1 / groups] * groups
        if 0 < coverage <= 1 and len(used) == groups and accepted(used):
            assert bucket_ranges(used, coverage) == [pytest.approx(pair) for pair in expected], name
            checked += 1
    assert checked >= 6


# Computed by running GrowthBook's own loop (charCodeAt, shifts, >>> 0) over the code units written out.
@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("😀", [0xD83D, 0xDE00]),
        ("\ud83d", [0xD83D]),
        ("é漢", [0xE9, 0x6F22]),
        ("a\ude00b", [0x61, 0xDE00, 0x62]),
    ],
)
def test_hash_counts_utf_16_code_units(text: str, units: list[int]) -> None:
    value = 0x811C9DC5
    for unit in units:
        value ^= unit
        value += (value << 1) + (value << 4) + (value << 7) + (value << 8) + (value << 24)
    assert fnv1a32(text) == value & 0xFFFFFFFF


def test_hash_of_nothing_is_the_offset_basis() -> None:
    assert fnv1a32("") == 0x811C9DC5


# The FNV specification's own vectors for ASCII, where code units and bytes are the same.
@pytest.mark.parametrize(("text", "expected"), [("a", 0xE40C292C), ("foobar", 0xBF9CF968)])
def test_hash_is_fnv_1a_on_ascii(text: str, expected: int) -> None:
    assert fnv1a32(text) == expected


@given(
    seed=st.text(st.characters(codec=None), max_size=20),
    user_id=st.text(st.characters(codec=None), max_size=20),
)
def test_the_bucket_is_that_of_seed_and_id_together(seed: str, user_id: str) -> None:
    assert hash_bucket(seed, user_id) == fnv1a32(str(fnv1a32(seed + user_id))) % BUCKETS


def test_a_seed_may_end_in_the_middle_of_a_character() -> None:
    assert hash_bucket("s\ud83d", "\ude00") == hash_bucket("s", "\U0001f600")


@given(seed=st.text(max_size=20), user_id=st.text(max_size=20))
def test_buckets_stay_in_range(seed: str, user_id: str) -> None:
    assert 0 <= hash_bucket(seed, user_id) < BUCKETS


@given(
    position=st.integers(0, BUCKETS - 1).map(lambda bucket: bucket / BUCKETS),
    weight=st.floats(0.01, 0.99),
    coverages=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
)
def test_coverage_never_moves_a_user_to_another_group(
    position: float, weight: float, coverages: tuple[float, float]
) -> None:
    groups = {
        group
        for coverage in coverages
        if (group := choose_group(position, bucket_ranges([weight, 1 - weight], coverage))) is not None
    }
    assert len(groups) <= 1
