"""What an offer must not break: a cap, a least margin, a budget; and which of them decided."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

import numpy as np

from services.common.errors import FailedPreconditionError
from services.optimizer.domain.features import MICROS_PER_UNIT, BoolArray, FloatArray
from services.optimizer.domain.objectives import Economics


class ConstraintKind(StrEnum):
    """What a constraint limits; the values are the words of the wire.

    maximum_offer: the offer itself. minimum_profit_margin: what is left of the mean revenue, after goods and
    offer, as a share of it. daily_budget: what redeemed offers are expected to cost on an average day.
    """

    MAXIMUM_OFFER = "maximum_offer"
    MINIMUM_PROFIT_MARGIN = "minimum_profit_margin"
    DAILY_BUDGET = "daily_budget"


class ConstraintSource(StrEnum):
    """Who set a constraint."""

    REQUEST = "request"
    CAMPAIGN = "campaign"
    MERCHANT = "merchant"


@dataclass(frozen=True, kw_only=True)
class OfferLimits:
    """The limits that one source sets, None where it sets none; money in micros, the margin a fraction."""

    maximum_offer_micros: int | None = None
    minimum_profit_margin: float | None = None
    daily_budget_micros: int | None = None


_ROUNDING: Final = 1e-9
NO_LIMITS: Final = OfferLimits()


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Whose offers are limited: a campaign's, or a merchant's (its id as text)."""

    kind: ConstraintSource
    name: str

    @classmethod
    def of_campaign(cls, campaign_id: str) -> Self:
        """Return the scope of a campaign."""
        return cls(kind=ConstraintSource.CAMPAIGN, name=campaign_id)

    @classmethod
    def of_merchant(cls, merchant_id: int) -> Self:
        """Return the scope of all campaigns of a merchant."""
        return cls(kind=ConstraintSource.MERCHANT, name=str(merchant_id))


@dataclass(frozen=True, kw_only=True)
class KeptLimits:
    """The limits of a scope as they are kept; `updated_at` is None where none were ever set."""

    scope: Scope
    limits: OfferLimits
    actor: str = ""
    comment: str = ""
    updated_at: datetime | None = None

    @property
    def etag(self) -> str:
        """What stands for these limits, and for no others set before or after."""
        moment = None if self.updated_at is None else self.updated_at.timestamp()
        content = (self.scope, self.limits, self.actor, self.comment, moment)
        return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class HeldLimits:
    """A scope's own limits, and its merchant's, None where it has no merchant or is one."""

    own: KeptLimits
    of_merchant: KeptLimits | None


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """One limit: currency units, or a fraction for the margin."""

    kind: ConstraintKind
    source: ConstraintSource
    limit: float


def gather(limits: Sequence[tuple[ConstraintSource, OfferLimits]]) -> tuple[Constraint, ...]:
    """Return every limit that is set, in the order of `limits`."""
    found = []
    for source, of_source in limits:
        values = (
            (ConstraintKind.MAXIMUM_OFFER, _units(of_source.maximum_offer_micros)),
            (ConstraintKind.MINIMUM_PROFIT_MARGIN, of_source.minimum_profit_margin),
            (ConstraintKind.DAILY_BUDGET, _units(of_source.daily_budget_micros)),
        )
        found += [
            Constraint(kind=kind, source=source, limit=value) for kind, value in values if value is not None
        ]
    return tuple(found)


def _units(micros: int | None) -> float | None:
    return None if micros is None else micros / MICROS_PER_UNIT


@dataclass(frozen=True, kw_only=True)
class Prospects:
    """What constraints are checked against: offers (currency units), their rates, and what comes of them.

    `views_a_day` is the mean over all days, also those without any view; None where nobody knows.
    """

    offers: FloatArray
    rates: FloatArray
    economics: Economics
    views_a_day: float | None


def keeps(constraint: Constraint, prospects: Prospects) -> BoolArray:
    """Return which offers keep the constraint, by what is expected of them; raises as `comes_to`."""
    amounts = comes_to(constraint, prospects)
    if constraint.kind is ConstraintKind.MAXIMUM_OFFER:
        return np.asarray(amounts <= constraint.limit)
    if constraint.kind is ConstraintKind.DAILY_BUDGET:
        return np.asarray(amounts <= constraint.limit * (1.0 + _ROUNDING))
    return np.asarray(amounts >= constraint.limit - _ROUNDING)


def comes_to(constraint: Constraint, prospects: Prospects) -> FloatArray:
    """Return by offer what the constraint limits: the offer, the margin left, or the cost a day.

    Raises:
        FailedPreconditionError: REVENUE_UNKNOWN for a margin without revenue, GROSS_MARGIN_UNKNOWN without a
            gross margin; OFFER_CONSTRAINED for a budget of a campaign whose views nobody knows.
    """
    if constraint.kind is ConstraintKind.MAXIMUM_OFFER:
        return prospects.offers
    if constraint.kind is ConstraintKind.DAILY_BUDGET:
        if prospects.views_a_day is None:
            raise FailedPreconditionError(
                "daily_budget cannot be kept: nobody knows how many views a day the campaign has",
                reason="OFFER_CONSTRAINED",
                metadata={"constraint": constraint.kind.value, "source": constraint.source.value},
            )
        return prospects.views_a_day * prospects.rates * prospects.offers
    economics = prospects.economics
    if economics.mean_revenue is None:
        raise FailedPreconditionError(
            "minimum_profit_margin cannot be kept: no revenue of conversions is recorded",
            reason="REVENUE_UNKNOWN",
            metadata={"constraint": constraint.kind.value, "source": constraint.source.value},
        )
    if economics.gross_margin_rate is None:
        raise FailedPreconditionError(
            "minimum_profit_margin cannot be kept: no gross_margin_rate is known, neither the campaign's nor"
            " of any of its merchant's; upsert the campaign with its gross_margin_rate, or send it with a"
            " planned one",
            reason="GROSS_MARGIN_UNKNOWN",
            metadata={
                "constraint": constraint.kind.value,
                "source": constraint.source.value,
                "field": "gross_margin_rate",
            },
        )
    return economics.gross_margin_rate - prospects.offers / economics.mean_revenue


@dataclass(frozen=True, kw_only=True)
class BrokenConstraint:
    """A constraint that an offer does not keep, and what the offer comes to in its place."""

    constraint: Constraint
    amount: float

    def __str__(self) -> str:
        """Say both, as what follows the offer in a sentence."""
        limit = f"{self.constraint.kind.value} of {self.constraint.limit:g} ({self.constraint.source.value})"
        if self.constraint.kind is ConstraintKind.MAXIMUM_OFFER:
            return f"breaks {limit}"
        if self.constraint.kind is ConstraintKind.DAILY_BUDGET:
            return f"breaks {limit}: it is expected to cost {self.amount:.2f} a day"
        return f"breaks {limit}: it leaves a margin of {self.amount:.3f}"


def list_broken(constraints: Sequence[Constraint], prospects: Prospects) -> tuple[BrokenConstraint, ...]:
    """Return the constraints that an only offer does not keep; raises as `comes_to`."""
    return tuple(
        BrokenConstraint(constraint=each, amount=float(comes_to(each, prospects)[0]))
        for each in constraints
        if not keeps(each, prospects)[0]
    )


@dataclass(frozen=True, kw_only=True)
class ConstraintCheck:
    """A constraint, and whether the offer would be another one without constraints because of it."""

    constraint: Constraint
    is_binding: bool


@dataclass(frozen=True, kw_only=True)
class ConstrainedChoice:
    """The best offers (positions) with and without constraints.

    `kept` (constraints, offers) tells which offers keep which constraint.
    """

    best: int
    unconstrained_best: int
    kept: BoolArray
    checks: tuple[ConstraintCheck, ...]


def choose(
    values: FloatArray, supported: BoolArray, constraints: tuple[Constraint, ...], prospects: Prospects
) -> ConstrainedChoice:
    """Return the supported offer of the highest value that keeps every constraint.

    Raises:
        FailedPreconditionError: OFFER_CONSTRAINED where no supported offer keeps them all, and as `keeps`.
    """
    kept = np.ones((len(constraints), len(values)), dtype=np.bool_)
    for place, constraint in enumerate(constraints):
        kept[place] = keeps(constraint, prospects)
    allowed = supported & kept.all(axis=0)
    if not allowed.any():
        raise _nothing_left(constraints, supported, kept, prospects)
    free = int(np.argmax(np.where(supported, values, -np.inf)))
    best = int(np.argmax(np.where(allowed, values, -np.inf)))
    return ConstrainedChoice(
        best=best,
        unconstrained_best=free,
        kept=kept,
        checks=tuple(
            ConstraintCheck(constraint=constraint, is_binding=best != free and not bool(kept[place, free]))
            for place, constraint in enumerate(constraints)
        ),
    )


def _nothing_left(
    constraints: tuple[Constraint, ...], supported: BoolArray, kept: BoolArray, prospects: Prospects
) -> FailedPreconditionError:
    """Return the refusal: the constraints that no supported offer keeps, and what a budget would have to be.

    There are such: every constraint forbids the larger offers, so the tightest forbids what all do.
    """
    named = [
        constraint for constraint, row in zip(constraints, kept, strict=True) if not row[supported].any()
    ]
    words = " and ".join(f"{each.kind.value} {each.limit:g} ({each.source.value})" for each in named)
    is_budget = any(each.kind is ConstraintKind.DAILY_BUDGET for each in named)
    return FailedPreconditionError(
        f"no supported offer keeps {words}{_say_least_cost(supported, prospects) if is_budget else ''}",
        reason="OFFER_CONSTRAINED",
        metadata={"constraint": named[0].kind.value, "source": named[0].source.value},
    )


def _say_least_cost(supported: BoolArray, prospects: Prospects) -> str:
    """Return what the cheapest supported offer would cost a day, in words."""
    views = prospects.views_a_day or 0.0
    costs = np.where(supported, views * prospects.rates * prospects.offers, np.inf)
    cheapest = int(np.argmin(costs))
    return (
        f"; the cheapest one, {prospects.offers[cheapest]:g}, would cost {costs[cheapest]:.2f} a day by what"
        f" is expected of {views:.1f} views a day of which {prospects.rates[cheapest]:.3f} convert"
    )
