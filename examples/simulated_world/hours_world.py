"""A small world in which what hours do is known exactly: users with hours of their own, and campaigns."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.send_time.counts import (
    HOURS,
    TYPES,
    CycleCounts,
    History,
    IntArray,
    Sendings,
)

FIRST_HOUR, LAST_HOUR = 7, 22
USUAL_HOURS = (9, 11, 12, 15, 18, 19)
USUAL_SHARE = 0.4
DAYS = 5
DAY_SHARE = 0.85
PEAKS = np.array([8.5, 12.5, 17.5, 20.5])


@dataclass(frozen=True, kw_only=True)
class Equations:
    """How a delivery is answered.

    A view has the probability `floor` + (`ceiling` - `floor`) q, a conversion of it the logit of campaign
    and user + `of_hour` (q - 1/2) + `of_all` at 19:00, q being the user's profile at the hour, 1 at its best.
    `of_campaign` is the deviation of a smooth curve of hours that each campaign has of its own, `of_curve`
    that of one that all have. Where
    `of_day` is above 0, each campaign sends on five days, nearly all at one hour a day, and every such day
    has normal luck of that deviation in the logit, which is no part of what is true of the hour.
    """

    users: int
    campaigns: int
    deliveries: float
    acts: float = 40.0
    floor: float = 0.34
    ceiling: float = 0.95
    of_hour: float = 0.5
    of_all: float = 0.0
    of_campaign: float = 0.0
    of_curve: float = 0.0
    of_day: float = 0.0


@dataclass(frozen=True, kw_only=True)
class HoursWorld:
    """`rates` (campaigns, users, 24) is the true conversions of a delivery."""

    history: History
    sendings: Sendings
    segment_set_ids: list[int | None]
    rates: FloatArray

    @classmethod
    def build(cls, seed: int, equations: Equations) -> Self:
        """Draw users and campaigns, what was sent, and how it was answered."""
        rng = np.random.default_rng(seed)
        profile = _profiles(rng, equations.users)
        views = equations.floor + (equations.ceiling - equations.floor) * profile
        level = rng.normal(0.0, 0.5, equations.users)
        campaign_level = rng.normal(-1.5, 0.5, equations.campaigns)
        logit = equations.of_hour * (profile - 0.5) + level[:, np.newaxis]
        logit[:, 19] += equations.of_all
        luck = np.random.default_rng([seed, 1])
        own = equations.of_campaign * _curves(luck, equations.campaigns)
        own = own + equations.of_curve * _curves(np.random.default_rng([seed, 2]), 1)
        of_campaign = campaign_level[:, np.newaxis, np.newaxis] + own[:, np.newaxis, :]
        rates = views * expit(logit + of_campaign)
        user, campaign, hour = _send(rng, equations)
        shock = np.zeros(len(user))
        if equations.of_day > 0.0:
            hour, shock = _send_on_days(luck, campaign, hour, equations)
        answer = logit[user, hour] + of_campaign[campaign, 0, hour] + shock
        viewed = rng.random(len(user)) < views[user, hour]
        converted = viewed & (rng.random(len(user)) < expit(answer))
        kind = 1 + campaign % 3
        answers = (np.ones(len(user)), viewed.astype(np.float64), converted.astype(np.float64))
        bought = rng.poisson(equations.acts * rng.gamma(2.0, 0.5, equations.users))
        acts = rng.multinomial(bought, profile / profile.sum(axis=1, keepdims=True)).astype(np.float64)
        weekday = rng.integers(0, 7, len(user))
        return cls(
            history=History(
                user_ids=tuple(map(str, range(equations.users))),
                hours=_counts(acts, user, kind, hour, answers),
                days=_counts(np.ones((equations.users, 7)), user, kind, weekday, answers),
            ),
            sendings=Sendings(
                user=user,
                campaign=campaign,
                campaign_type=kind,
                weekday=weekday,
                hour=hour,
                deliveries=answers[0],
                views=answers[1],
                conversions=answers[2],
            ),
            segment_set_ids=[None] * equations.users,
            rates=rates,
        )


def _profiles(rng: np.random.Generator, users: int) -> FloatArray:
    """Profiles (users, 24) that are 1 at their best hour, 0 at night, with peaks of unequal height."""
    hours = np.arange(HOURS)
    centres = PEAKS + rng.normal(0.0, 1.0, (users, len(PEAKS)))
    heights = rng.dirichlet(np.full(len(PEAKS), 0.6), users)
    apart = hours[np.newaxis, np.newaxis, :] + 0.5 - centres[:, :, np.newaxis]
    density = (heights[:, :, np.newaxis] * np.exp(-0.5 * (apart / 1.3) ** 2)).sum(axis=1) + 0.03
    density[:, (hours < FIRST_HOUR) | (hours > LAST_HOUR)] = 0.0
    return np.asarray(density / density.max(axis=1, keepdims=True), dtype=np.float64)


def _send(rng: np.random.Generator, equations: Equations) -> tuple[IntArray, IntArray, IntArray]:
    """User, campaign and hour of deliveries: 40 % at the campaign's usual hour, the others at any."""
    counts = rng.poisson(equations.deliveries / equations.campaigns, (equations.users, equations.campaigns))
    user, campaign = (np.repeat(place.ravel(), counts.ravel()) for place in np.indices(counts.shape))
    usual = rng.choice(USUAL_HOURS, equations.campaigns)[campaign]
    anywhere = rng.integers(FIRST_HOUR, LAST_HOUR + 1, len(user))
    return user, campaign, np.where(rng.random(len(user)) < USUAL_SHARE, usual, anywhere)


def _send_on_days(
    rng: np.random.Generator, campaign: IntArray, anywhere: IntArray, equations: Equations
) -> tuple[IntArray, FloatArray]:
    """Hours of deliveries that fall on a few days of their campaign, and the luck of the day."""
    shape = (equations.campaigns, DAYS)
    at = np.clip(
        rng.choice(USUAL_HOURS, equations.campaigns)[:, np.newaxis] + rng.integers(-4, 5, shape), 7, 21
    )
    shock = rng.normal(0.0, equations.of_day, shape)
    day = rng.integers(0, DAYS, len(campaign))
    is_usual = rng.random(len(campaign)) < DAY_SHARE
    return np.where(is_usual, at[campaign, day], anywhere), shock[campaign, day]


def _curves(rng: np.random.Generator, count: int) -> FloatArray:
    """Smooth curves (count, 24) around the day, with a deviation of 1."""
    turn = (np.arange(HOURS)[:, np.newaxis] - np.arange(HOURS)) * 2.0 * np.pi / HOURS
    curves = rng.normal(size=(count, HOURS)) @ np.exp(3.0 * (np.cos(turn) - 1.0))
    return np.asarray(curves / curves.std(axis=1, keepdims=True))


def _counts(
    acts: FloatArray, user: IntArray, kind: IntArray, cell: IntArray, answers: tuple[FloatArray, ...]
) -> CycleCounts:
    sums = np.zeros((3, len(acts), TYPES, acts.shape[1]))
    for total, answer in zip(sums, answers, strict=True):
        np.add.at(total, (user, kind, cell), answer)
    return CycleCounts(acts=acts, deliveries=sums[0], views=sums[1], conversions=sums[2])
