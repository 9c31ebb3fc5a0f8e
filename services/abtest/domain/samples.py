"""What is known of a metric's values in a group: sums that suffice for every estimate, never the values.

Squares are kept about the mean. Raw sums of squares lose every digit where the spread is small beside the
mean; those about the mean do not, add up as exactly, and PostgreSQL gives them as `regr_sxx`, `regr_syy` and
`regr_sxy`. Conversions have `GroupCounts`, which `MeanSample.from_counts` turns into these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.abtest.domain.model import GroupCounts

SampleT_co = TypeVar("SampleT_co", covariant=True)
Values = Sequence[float] | NDArray[np.float64]
ExactSum = int | Decimal | Fraction
"""A sum that lost no digit, such as PostgreSQL's of integers."""
_ROUNDING = 1e-13


@dataclass(frozen=True, kw_only=True)
class MeanSample:
    """One value per user: how many users, the values' sum, and their squared deviations from the mean.

    Users without an event count with the value 0. An empty group is three zeros.
    """

    users: int = 0
    total: float = 0.0
    squared_deviations: float = 0.0

    @property
    def mean(self) -> float | None:
        """The mean value per user; None without users."""
        return self.total / self.users if self.users else None

    @property
    def variance(self) -> float | None:
        """The unbiased variance of one user's value; None with fewer than two users."""
        return self.squared_deviations / (self.users - 1) if self.users > 1 else None

    def __add__(self, other: "MeanSample") -> "MeanSample":
        """Return the sample of both together.

        Source: T. F. Chan, G. H. Golub, R. J. LeVeque (1983), The American Statistician 37, 242-247.
        """
        return MeanSample(
            users=self.users + other.users,
            total=self.total + other.total,
            squared_deviations=self.squared_deviations
            + other.squared_deviations
            + between_products(self, other, self, other),
        )

    @classmethod
    def from_sums(cls, *, users: int, total: ExactSum, squares: ExactSum, unit: int = 1) -> "MeanSample":
        """Return the sample with these exact sums of values and of their squares.

        Values count `unit` parts: with money in micros, 1,000,000 gives the sample in currency units.
        """
        return cls(
            users=users,
            total=float(Fraction(total) / unit),
            squared_deviations=exact_deviations(users, total, total, squares, unit * unit),
        )

    @classmethod
    def from_counts(cls, counts: GroupCounts) -> "MeanSample":
        """Return the sample in which a converting user has the value 1 and any other 0."""
        others = counts.users - counts.conversions
        return cls(
            users=counts.users,
            total=float(counts.conversions),
            squared_deviations=counts.conversions * others / counts.users if counts.users else 0.0,
        )

    @classmethod
    def from_values(cls, values: Values) -> "MeanSample":
        """Return the sample of these values, one per user."""
        array = np.asarray(values, dtype=np.float64)
        if not array.size:
            return cls()
        return cls(
            users=array.size,
            total=float(array.sum()),
            squared_deviations=float(((array - array.mean()) ** 2).sum()),
        )


@dataclass(frozen=True, kw_only=True)
class CovariateSample:
    """A metric's value and, for the same users, a value from before their assignment.

    `cross_deviations` sums the products of both values' deviations from their means. Users unknown before
    count with the covariate 0. Both samples have the same users.
    """

    outcome: MeanSample = MeanSample()
    covariate: MeanSample = MeanSample()
    cross_deviations: float = 0.0

    @property
    def users(self) -> int:
        """How many users the group has."""
        return self.outcome.users

    def __add__(self, other: "CovariateSample") -> "CovariateSample":
        """Return the sample of both together."""
        return CovariateSample(
            outcome=self.outcome + other.outcome,
            covariate=self.covariate + other.covariate,
            cross_deviations=self.cross_deviations
            + other.cross_deviations
            + between_products(self.outcome, other.outcome, self.covariate, other.covariate),
        )

    @classmethod
    def from_values(cls, outcome: Values, covariate: Values) -> "CovariateSample":
        """Return the sample of these values, one of each per user."""
        return cls(
            outcome=MeanSample.from_values(outcome),
            covariate=MeanSample.from_values(covariate),
            cross_deviations=sum_cross_deviations(outcome, covariate),
        )


@dataclass(frozen=True, kw_only=True)
class RatioSample:
    """A metric that is a sum over a sum, such as clicks over views: both per user, and their relation.

    The metric is all users' numerators over all users' denominators. Both samples have the same users, for
    the user is what was assigned; the denominator's events are not independent.
    """

    numerator: MeanSample = MeanSample()
    denominator: MeanSample = MeanSample()
    cross_deviations: float = 0.0

    @property
    def users(self) -> int:
        """How many users the group has."""
        return self.numerator.users

    @property
    def ratio(self) -> float | None:
        """The numerators' sum over the denominators'; None where the latter is 0."""
        return self.numerator.total / self.denominator.total if self.denominator.total else None

    def __add__(self, other: "RatioSample") -> "RatioSample":
        """Return the sample of both together."""
        return RatioSample(
            numerator=self.numerator + other.numerator,
            denominator=self.denominator + other.denominator,
            cross_deviations=self.cross_deviations
            + other.cross_deviations
            + between_products(self.numerator, other.numerator, self.denominator, other.denominator),
        )

    @classmethod
    def from_values(cls, numerator: Values, denominator: Values) -> "RatioSample":
        """Return the sample of these values, one of each per user."""
        return cls(
            numerator=MeanSample.from_values(numerator),
            denominator=MeanSample.from_values(denominator),
            cross_deviations=sum_cross_deviations(numerator, denominator),
        )


@dataclass(frozen=True, kw_only=True)
class Stratum(Generic[SampleT_co]):
    """The groups' samples among users that share something: a weight epoch, a segment, a day since exposure.

    `label` names it. `groups` holds every group of the test, the control first; a user is in one stratum of
    a list only.
    """

    label: str
    groups: tuple[SampleT_co, ...]


def between_products(
    first: MeanSample, other_first: MeanSample, second: MeanSample, other_second: MeanSample
) -> float:
    """Return what two samples' distance adds to the cross deviations of both together.

    That is n m / (n + m) times the product of the distances of both values' means; 0 where one is empty.
    """
    n, m = first.users, other_first.users
    if not n or not m:
        return 0.0
    first_distance = first.total / n - other_first.total / m
    second_distance = second.total / n - other_second.total / m
    return n * m / (n + m) * first_distance * second_distance


def residual_deviations(
    first: MeanSample, second: MeanSample, *, cross_deviations: float, slope: float
) -> float:
    """Return the squared deviations of first less slope times second, both per user.

    0 where rounding alone is left of them: a metric that another one determines does not vary by itself.
    """
    whole = first.squared_deviations + slope**2 * second.squared_deviations
    residual = whole - 2.0 * slope * cross_deviations
    return residual if residual > _ROUNDING * whole else 0.0


def exact_deviations(
    users: int, first_total: ExactSum, second_total: ExactSum, products: ExactSum, unit: int = 1
) -> float:
    """Return the cross deviations from the exact sums of two values and of their products; 0 without users.

    `unit` is the product of both values' units.
    """
    if not users:
        return 0.0
    return float((Fraction(products) - Fraction(first_total) * Fraction(second_total) / users) / unit)


def sum_cross_deviations(first: Values, second: Values) -> float:
    """Return the sum over users of the products of both values' deviations from their means."""
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    return float(((x - x.mean()) * (y - y.mean())).sum()) if x.size else 0.0
