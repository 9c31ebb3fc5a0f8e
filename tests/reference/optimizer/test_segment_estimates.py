"""Segments' ratios and gains against numbers worked by hand, and against simulated truths."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from examples.simulated_world.segment_gains import judge_segments
from examples.simulated_world.segments_world import SegmentEquations, SegmentWorld
from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.segments.offer_mix import OfferViewers, compare_at_offers
from services.optimizer.domain.segments.segments import SegmentSums, rate_segments


def covers(interval: Interval | None, truth: float) -> bool:
    assert interval is not None
    return interval.lower <= truth <= interval.upper


def sums(
    name: str,
    views: NDArray[np.int64],
    conversions: NDArray[np.int64],
    campaign: tuple[int, int],
    campaign_id: str = "c",
) -> SegmentSums:
    return SegmentSums(
        campaign_id=campaign_id,
        segment_name=name,
        users=len(views),
        views=int(views.sum()),
        conversions=int(conversions.sum()),
        views_views=int(views @ views),
        views_conversions=int(views @ conversions),
        conversions_conversions=int(conversions @ conversions),
        campaign_views=campaign[0],
        campaign_conversions=campaign[1],
    )


def test_a_segment_is_held_against_the_campaigns_it_was_sent() -> None:
    # 100 views in a campaign at 0.1 and 300 in one at 0.4: 10 + 120 conversions are expected, 156 were seen.
    ones = np.ones(100, dtype=np.int64)
    low = sums("loyal", ones, (np.arange(100) < 12).astype(np.int64), (1000, 100), "low")
    high = sums("loyal", np.ones(300, dtype=np.int64), (np.arange(300) < 144).astype(np.int64), (500, 200))
    (rate,) = rate_segments([low, high, sums("", ones, ones, (1000, 100))])
    assert rate.ratio == pytest.approx(156 / 130)
    assert rate.conversion_rate == pytest.approx(156 / 400)
    assert (rate.users, rate.campaigns) == (400, 2)
    # Each user once: n / (n - 1) n p (1 - p) by campaign. A conversion of the segment adds 1 / 156 to the log
    # of what is observed, and its campaign's share of the 130 expected over the campaign's conversions to
    # that of what is expected, as one of the campaign's other users does.
    pulls = 10 / 130 / 100, 120 / 130 / 200
    scatters = 100 / 99 * 100 * 0.12 * 0.88, 300 / 299 * 300 * 0.48 * 0.52
    # Unsegmented users all converted, so that they add nothing to how users scatter beyond chance.
    inflation = sum(scatters) / (100 * 0.12 * 0.88 + 300 * 0.48 * 0.52)
    outside = 900 * (88 / 900) * (1 - 88 / 900), 200 * (56 / 200) * (1 - 56 / 200)
    own = sum(s * (1 / 156 - pull) ** 2 for s, pull in zip(scatters, pulls, strict=True))
    others = sum(inflation * o * pull**2 for o, pull in zip(outside, pulls, strict=True))
    assert rate.ratio_interval is not None
    assert rate.ratio_interval.upper == pytest.approx(1.2 * np.exp(1.6448536 * np.sqrt(own + others)))
    of_expected = sum(s * pull**2 for s, pull in zip(scatters, pulls, strict=True)) + others
    odds = 130 / 270 * np.exp(1.6448536 * np.sqrt(of_expected) / (1 - 130 / 400))
    assert rate.expected_rate_interval is not None
    assert rate.expected_rate_interval.upper == pytest.approx(odds / (1 + odds))


def test_ratios_and_rates_cover_their_truth_nine_times_in_ten() -> None:
    # Users see 1 to 6 views and differ (logit sd 0.7), so views are not independent; the segment converts 1.5
    # times as often as the campaign of which it is a small part.
    rng = np.random.default_rng(20261)
    grid = rng.normal(0, 0.7, 200_000)
    truth = float(np.mean(1 / (1 + np.exp(1.5 - grid))))
    hits = np.zeros(2)
    for _ in range(800):
        views = rng.integers(1, 7, 250)
        rates = 1 / (1 + np.exp(1.5 - rng.normal(0, 0.7, 250)))
        (rate,) = rate_segments(
            [sums("loyal", views, rng.binomial(views, rates), (1_000_000, round(truth / 1.5 * 1_000_000)))]
        )
        hits += covers(rate.ratio_interval, 1.5), covers(rate.conversion_rate_interval, truth)
    assert hits / 800 == pytest.approx([0.9, 0.9], abs=0.035)


@pytest.mark.parametrize(
    ("users", "others", "rate", "of_others"), [(100, 100, 0.05, 0.02), (900, 300, 0.01, 0.003)]
)
def test_a_segment_of_all_who_converted_is_not_sure_of_it(
    users: int, others: int, rate: float, of_others: float
) -> None:
    """Nobody else of these: up to three would have been no surprise (rule of three)."""
    rng, held, silent = np.random.default_rng(7), [], []
    truth = rate * (users + others) / (rate * users + of_others * others)
    for _ in range(600):
        own, beside = rng.binomial(users, rate), rng.binomial(others, of_others)
        if own:
            seen = (np.arange(users) < own).astype(np.int64)
            campaign = (users + others, int(own + beside))
            (found,) = rate_segments([sums("loyal", np.ones(users, dtype=np.int64), seen, campaign)], 1.0)
            held.append(covers(found.ratio_interval, truth))
            silent.append(beside == 0)
    assert np.mean(silent) > 0.1
    assert np.mean(np.array(held)[silent]) > 0.9
    assert np.mean(held) > 0.9


def test_before_recurrence_is_measured_it_counts_as_much_as_it_could() -> None:
    # Segments are drawn at random, so that all ratios are 1; users' rates vary (log sd 1), and 300 users
    # meet each of 15 campaigns. Were the same users taken for others, 62 % of intervals would hold.
    rng = np.random.default_rng(20267)
    held: list[bool] = []
    for _ in range(60):
        parts = []
        rates = 0.1 * np.exp(rng.normal(size=300) - 0.5)
        eagerness, within = rng.gamma(1.0, 1.0, 300), rng.random((3, 300)) < 0.3
        for campaign in range(15):
            views = rng.poisson(eagerness)
            conversions = rng.binomial(views, np.minimum(rates, 0.9))
            totals = (int(views.sum()), int(conversions.sum()))
            for number, inside in enumerate(within):
                chosen = inside & (views > 0)
                parts.append(sums(f"s{number}", views[chosen], conversions[chosen], totals, str(campaign)))
        held += [covers(each.ratio_interval, 1.0) for each in rate_segments(parts)]
    assert 0.83 < np.mean(held) <= 0.97


@pytest.mark.parametrize(
    "equations",
    [
        SegmentEquations(of_taste=0.7),
        SegmentEquations(recurring=600, of_taste=0.7),
        SegmentEquations(campaigns=10, recurring=600, groups=11, lean=2.0),
    ],
    ids=["other users in every campaign", "the same users in all", "12 segments, offers that lean much"],
)
def test_what_segments_are_told_to_gain_is_true(equations: SegmentEquations) -> None:
    """Told is true within the error, and 90 % intervals hold; `segment_gains` has it of more worlds."""
    judged = judge_segments(equations, range(91_001, 91_041))
    for held in (judged.ratio_held, judged.expected_held, judged.rate_held):
        share, error = judged.share(held)
        assert share == pytest.approx(0.9, abs=max(3.0 * error, 0.04))
    error = judged.error.std() / np.sqrt(len(judged.error))
    assert abs(judged.error.mean()) < 3.0 * error


def test_a_segment_that_is_everybody_gains_nothing_however_offers_lean() -> None:
    """Ready users view the low offer more, so that the whole campaign is worth less than at offers drawn."""
    views = {(5, 1): 800, (5, 2): 200, (15, 1): 200, (15, 2): 800}
    viewers = [
        OfferViewers(
            campaign_id="c",
            offer_amount_micros=offer,
            segment_set_id=number,
            views=each,
            rate=0.01 * (21 - offer),
        )
        for (offer, number), each in views.items()
    ]
    ones, bought = np.ones(2_000, dtype=np.int64), (np.arange(2_000) < 220).astype(np.int64)
    known = [
        sums("all", ones, bought, (2_000, 220)),
        sums("ready", ones[:1_000], bought[:1_000] * (np.arange(1_000) < 150), (2_000, 220)),
    ]
    everybody, ready = rate_segments(
        compare_at_offers(known, viewers, {1: ["all", "ready"], 2: ["all"]}), 1.0
    )
    assert everybody.ratio == pytest.approx(1.0)
    assert ready.ratio is not None
    assert ready.ratio > 1.1


def test_offers_that_lean_are_taken_out_of_the_comparison() -> None:
    """Held against the rates seen at its offers, mostly its own, a segment would gain less than is true."""
    world = SegmentWorld.build(
        np.random.default_rng(91_000), SegmentEquations(reached=4_000, groups=2, lean=2.0, of_segment=0.6)
    )
    own, everybody = world.true_rates()
    told = [rate.ratio or 0.0 for rate in world.rate()]
    assert np.log(told) == pytest.approx(np.log(own / everybody), abs=0.06)
    assert np.ptp(np.log(own / everybody)) > 0.8


def test_the_model_expects_what_was_seen_of_every_offer_and_every_segment() -> None:
    """The likelihood equations: at its maximum both margins agree (McCullagh & Nelder 1989, section 4.4).

    Two offers; at the first 300 of `a` and 100 of nobody view, at the second 100 and 300. Rates are 0.5 and
    0.2 at the first, odds twice those at the second; the factor is everybody's rate at the offers of `a` over
    the campaign's.
    """
    views = np.array([[300, 100], [100, 300]])
    rates = np.array([[0.5, 0.2], [2 / 3, 1 / 3]])
    conversions = views * rates
    (found,) = compare_at_offers(
        [replace(sums("a", np.ones(2, dtype=np.int64), np.ones(2, dtype=np.int64), (800, 1)), views=400)],
        [],
        {},
    )
    assert (found.offer_factor, found.offer_spread) == (1.0, 1.0)  # nobody counted
    of_a = replace(found, views=400_000, conversions=round(1000 * conversions[:, 0].sum()))
    viewers = [
        OfferViewers(
            campaign_id="c",
            offer_amount_micros=offer,
            segment_set_id=place,
            views=1000 * int(views[offer, place]),
            rate=float(conversions[offer].sum() / views[offer].sum()),
        )
        for offer in (0, 1)
        for place in (0, 1)
    ]
    (found,) = compare_at_offers([of_a], viewers, {0: ("a",)})
    everybody = rates.mean(axis=1)  # half of all views are of `a`
    expected = (0.75 * everybody[0] + 0.25 * everybody[1]) / (conversions.sum() / 800)
    assert found.offer_factor == pytest.approx(expected, rel=1e-4)
    assert found.offer_spread == pytest.approx(0.75**2 * 2 + 0.25**2 * 2)
