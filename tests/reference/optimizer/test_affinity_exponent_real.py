"""What real coupons say of the exponent by which affinity moves conversions: where its prior comes from.

Two sources, each answered for within users and coupons by the optimizer's own fit. Complete Journey: the
coupons of mailed campaigns (types B and C: everybody is sent the same ones), redeemed or not, by how likely
the household is to buy of the coupon's manufacturer within a week, as its days of purchase before the
campaign tell. The UCI survey (stated, not observed): coupons for five kinds of places, by how often the
respondent goes there; with "never" once in ten months, or left out. The windows stand for what differs
between makers of such figures: independent logistic regressions by statsmodels gave 0.39 and 0.58.
"""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from examples.complete_journey.source import Source
from examples.uci_coupons.source import HABIT_COLUMNS, read_coupons
from services.optimizer.affinity_training.response_fit import WithinFit, fit_within
from services.optimizer.domain.affinity.contacts import FloatArray, IntArray
from services.optimizer.domain.affinity.response import PRIOR_DEVIATION, PRIOR_EXPONENT, Exposures

SHARED = Path(os.environ.get("SHARED_DATA_DIR", Path(__file__).parents[4] / "shared" / "data"))
JOURNEY, SURVEY = SHARED / "complete_journey", SHARED / "uci_coupons"
DAY_NANOSECONDS = 86_400 * 10**9
EPOCH = date(1970, 1, 1).toordinal()
LEAST_HISTORY = 56
MAKERS, DAYS = 10**6, 10**3
PLACES = dict(
    zip(
        ("Bar", "Coffee House", "Carry out & Take away", "Restaurant(<20)", "Restaurant(20-50)"),
        HABIT_COLUMNS,
        strict=True,
    )
)
MONTHLY = {"never": 0.1, "less1": 0.5, "1~3": 2.0, "4~8": 6.0, "gt8": 10.0}
MONTH = 30.4


def fit(user: IntArray, stratum: IntArray, taken: FloatArray, scores: FloatArray) -> WithinFit:
    """Return the exponent within strata that tell of it, beside the users' own means."""
    _, user = np.unique(user, return_inverse=True)
    logs = np.log(scores)
    usual = (np.bincount(user, logs) / np.bincount(user))[user]
    share = np.bincount(stratum, taken) / np.maximum(np.bincount(stratum), 1)
    told = ((share > 0.0) & (share < 1.0))[stratum]
    ones = np.ones(len(user), dtype=np.int64)
    exposures = Exposures(
        user=user, merchant=ones, stratum=stratum, day=ones, views=ones, conversions=taken.astype(np.int64)
    )
    found = fit_within(np.column_stack([logs, usual])[told], exposures.select(told))
    assert found is not None
    return found


def mailed(source: Source) -> Iterator[tuple[int, date, IntArray]]:
    """Yield campaigns that send everybody the same coupons, when they began, and to whom."""
    campaigns, deliveries = source.campaigns(), source.deliveries()
    sent, to = np.array(deliveries.campaign_id), np.array(deliveries.household_id)
    entries = zip(campaigns.campaign_id, campaigns.campaign_type, campaigns.start_date, strict=True)
    for campaign, kind, start in entries:
        if kind != "Type A":
            yield campaign, start, np.unique(to[sent == campaign])


def journey_rows(source: Source) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Return household, coupon of a campaign, whether it was redeemed, and its manufacturer's score."""
    lines, products, redeemed = source.lines(), source.products(), source.redemptions()
    maker = products.manufacturer_id[np.searchsorted(products.product_id, lines.product_id)]
    day = lines.at_nanoseconds // DAY_NANOSECONDS
    day -= day.min()
    first = int(lines.at_nanoseconds.min() // DAY_NANOSECONDS)
    bought = np.unique((lines.household_id * MAKERS + maker) * DAYS + day)
    coupons = pq.read_table(JOURNEY / "coupons.parquet")
    place = np.searchsorted(products.product_id, coupons["product_id"].to_numpy())
    names = ("campaign_id", "coupon_upc")
    offered = np.unique(
        np.column_stack([*(coupons[name].to_numpy() for name in names), products.manufacturer_id[place]]),
        axis=0,
    )
    taken = set(zip(redeemed.campaign_id, redeemed.household_id, redeemed.coupon_upc, strict=True))
    parts: list[tuple[IntArray, IntArray, FloatArray, FloatArray]] = []
    for campaign, start, households in mailed(source):
        days = start.toordinal() - EPOCH - first
        if days < LEAST_HISTORY:
            continue
        pairs, counts = np.unique(bought[bought % DAYS < days] // DAYS, return_counts=True)
        shoppers = len(np.unique(pairs // MAKERS))
        of_campaign = offered[offered[:, 0] == campaign]
        upcs, size = np.unique(of_campaign[:, 1], return_counts=True)
        for _, upc, of in of_campaign[np.isin(of_campaign[:, 1], upcs[size == 1])].tolist():
            usual = max(counts[pairs % MAKERS == of].sum() / shoppers / days, 1e-6)
            at = np.minimum(np.searchsorted(pairs, households * MAKERS + of), len(pairs) - 1)
            own = np.where(pairs[at] == households * MAKERS + of, counts[at], 0)
            rates = (own + 14.0 * usual) / (days + 14.0)
            hits = np.array([(campaign, who, upc) in taken for who in households.tolist()], dtype=np.float64)
            parts.append((households, np.full(len(households), len(parts)), hits, -np.expm1(-7.0 * rates)))
    who, coupon, hits, scores = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return who, coupon, hits, scores


@pytest.mark.skipif(not JOURNEY.is_dir(), reason="the Complete Journey files are not there")
def test_redeemed_coupons_of_manufacturers() -> None:
    found = fit(*journey_rows(Source.find(JOURNEY)))
    assert 0.3 < found.coefficient < 0.5
    assert found.standard_error < 0.08
    assert abs(found.coefficient - PRIOR_EXPONENT) < PRIOR_DEVIATION


@pytest.mark.skipif(not SURVEY.is_dir(), reason="the UCI coupon survey is not there")
def test_coupons_of_places_that_respondents_say_they_would_take() -> None:
    survey = read_coupons(SURVEY)
    habit = [
        survey.words[PLACES[place]][row] if place in PLACES else ""
        for row, place in enumerate(survey.words["coupon"])
    ]
    monthly = np.array([MONTHLY.get(word, np.nan) for word in habit])
    of_offer = np.unique(survey.codes("coupon") * 10 + survey.codes("expiration"), return_inverse=True)[1]
    found = []
    for chosen in (monthly > 0.0, monthly > MONTHLY["never"]):
        scores = -np.expm1(-7.0 * monthly[chosen] / MONTH)
        found.append(
            fit(survey.respondent[chosen], of_offer[chosen], survey.taken[chosen], scores).coefficient
        )
    assert found == pytest.approx([0.57, 0.36], abs=0.06)
    assert max(found) / 2.0 == pytest.approx(PRIOR_EXPONENT, abs=0.03)
