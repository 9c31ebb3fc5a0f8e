"""The seven features of the conversion forest, built by the same code for training and for serving.

One row is a campaign, a day of the reporting time zone, and an offer as it was sent. The history features
count the campaign's impressions and conversions of the `HISTORY_DAYS` days strictly before the row's own
day: a row never sees its own outcome, nor anything of its own day. The history trails instead of growing
without end, so that the values of tomorrow lie in the range that the forest was fitted on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

FEATURE_NAMES: Final = (
    "offer_amount",
    "day_of_week",
    "month",
    "campaign_type",
    "merchant",
    "historical_impressions",
    "historical_conversions",
)
MERCHANT_COLUMN: Final = FEATURE_NAMES.index("merchant")
HISTORY_DAYS: Final = 28
CROSS_FITTED_FOLDS: Final = 5
_LEAST_VARIANCE: Final = 1e-9
MICROS_PER_UNIT: Final = 1_000_000
UNKNOWN_OFFER: Final = -1
"""What stands in `DailyTable.offer_micros` where nobody knows what was sent."""
_UNIX_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, kw_only=True)
class DailyTable:
    """Outcomes by campaign, day and offer, as parallel arrays of one length.

    `campaign` is a position in `campaign_ids`; `day` a proleptic ordinal (`date.toordinal`); `offer_micros`
    is `UNKNOWN_OFFER` where the offer is not known; `campaign_type` and `merchant_id` are 0 where unset.
    """

    campaign_ids: tuple[str, ...]
    campaign: IntArray
    day: IntArray
    offer_micros: IntArray
    impressions: IntArray
    views: IntArray
    conversions: IntArray
    campaign_type: IntArray
    merchant_id: IntArray

    def __len__(self) -> int:
        return len(self.day)

    def select(self, chosen: BoolArray) -> "DailyTable":
        """Return the rows where `chosen` holds; campaign positions keep their meaning."""
        return DailyTable(
            campaign_ids=self.campaign_ids,
            campaign=self.campaign[chosen],
            day=self.day[chosen],
            offer_micros=self.offer_micros[chosen],
            impressions=self.impressions[chosen],
            views=self.views[chosen],
            conversions=self.conversions[chosen],
            campaign_type=self.campaign_type[chosen],
            merchant_id=self.merchant_id[chosen],
        )

    @property
    def is_usable(self) -> BoolArray:
        """Which rows can teach anything: a known offer that somebody viewed."""
        return (self.offer_micros >= 0) & (self.views > 0)

    @property
    def conversion_rate(self) -> FloatArray:
        """Conversions per view, at most 1; rows without a view are 0."""
        views = np.maximum(self.views, 1)
        return np.minimum(self.conversions, views) / views


DailyRow = tuple[str, date, int | None, int, int, int, int | None, int | None]
"""campaign_id, day, offer_micros, impressions, views, conversions, campaign_type, merchant_id."""


def daily_table(rows: Sequence[DailyRow]) -> DailyTable:
    """Return the table of `rows`."""
    ids = tuple(sorted({row[0] for row in rows}))
    position = {campaign_id: index for index, campaign_id in enumerate(ids)}

    def column(values: Sequence[int]) -> IntArray:
        return np.array(values, dtype=np.int64)

    return DailyTable(
        campaign_ids=ids,
        campaign=column([position[row[0]] for row in rows]),
        day=column([row[1].toordinal() for row in rows]),
        offer_micros=column([UNKNOWN_OFFER if row[2] is None else row[2] for row in rows]),
        impressions=column([row[3] for row in rows]),
        views=column([row[4] for row in rows]),
        conversions=column([row[5] for row in rows]),
        campaign_type=column([row[6] or 0 for row in rows]),
        merchant_id=column([row[7] or 0 for row in rows]),
    )


@dataclass(frozen=True, kw_only=True)
class History:
    """What happened in the `HISTORY_DAYS` days before a row's day, one value per row."""

    impressions: IntArray
    conversions: IntArray


def trailing_history(table: DailyTable) -> History:
    """Return each row's history, of its whole campaign over all offers, strictly before the row's day.

    `table` must hold the rows of the `HISTORY_DAYS` days before the first row that matters: what it lacks
    counts as nothing.
    """
    order = np.lexsort((table.day, table.campaign))
    campaign, day = table.campaign[order], table.day[order]
    earliest = int(day.min(initial=0)) - HISTORY_DAYS
    width = int(day.max(initial=0)) - earliest + 1
    key = campaign * width + (day - earliest)
    end = np.searchsorted(key, key, side="left")
    start = np.searchsorted(key, key - HISTORY_DAYS, side="left")

    def total(values: IntArray) -> IntArray:
        running = np.concatenate(([0], np.cumsum(values[order])))
        sums = np.empty(len(table), dtype=np.int64)
        sums[order] = running[end] - running[start]
        return sums

    return History(impressions=total(table.impressions), conversions=total(table.conversions))


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How categories become numbers, fixed at training and kept with the model.

    `merchant_codes` orders the merchants by their conversion rate: for squared error, cuts in that order are
    the best cuts of a category (Breiman et al. 1984, theorem 4.5). `unknown_merchant_code` is the average
    merchant's, for merchants the fit has not seen. Codes are rates, and were ranks in versions of old: a
    forest knows only its own version's.
    """

    merchant_codes: Mapping[int, float]
    unknown_merchant_code: float

    def merchant(self, merchant_id: int) -> float:
        """Return the code of `merchant_id`."""
        return self.merchant_codes.get(merchant_id, self.unknown_merchant_code)


def fit_encoding(table: DailyTable) -> Encoding:
    """Return the encoding learned from the (usable) rows to be fitted, and from no other row.

    A merchant's code is its conversion rate, drawn towards the overall one as far as it may be chance
    (D. Micci-Barreca 2001, "A preprocessing scheme for high-cardinality categorical attributes", section 3,
    the empirical Bayes weight): rate + B (own - rate) with B = V / (V + s / views), V the variance between
    merchants and s that of one view's outcome within them, by the method of moments; s is larger than chance
    alone would have it where a merchant's rows differ.
    """
    merchants, place = np.unique(table.merchant_id, return_inverse=True)
    views = np.bincount(place, weights=table.views).astype(np.float64)
    rates = np.bincount(place, weights=table.conversion_rate * table.views) / views
    overall = float(np.average(rates, weights=views))
    between, within = _merchant_variances(table, rates[place], views, overall)
    shrunk = overall + between / (between + within / views) * (rates - overall)
    codes = {int(merchant): float(code) for merchant, code in zip(merchants, shrunk, strict=True)}
    return Encoding(merchant_codes=codes, unknown_merchant_code=overall)


def _merchant_variances(
    table: DailyTable, own: FloatArray, views: FloatArray, overall: float
) -> tuple[float, float]:
    """Return the variances of merchants' rates between them, and of a view's outcome within."""
    chance = overall * (1.0 - overall)
    freedom = len(table) - len(views)
    within = max(chance, _LEAST_VARIANCE)
    if freedom > 0:
        scatter = float(np.sum(table.views * (table.conversion_rate - own) ** 2))
        within = max(within, scatter / freedom)
    apart = float(np.sum(table.views * (own - overall) ** 2)) - (len(views) - 1) * within
    size = float(views.sum() - np.sum(views**2) / views.sum())
    between = apart / size if size > 0.0 else 0.0
    return max(between, _LEAST_VARIANCE), within


def cross_fit_merchants(table: DailyTable) -> FloatArray:
    """Return a merchant code for each of the rows to be fitted, learned from the rows of other days.

    A code that had counted the row itself would tell its outcome, the more the fewer rows a merchant has, and
    the forest would trust codes as it may not when it serves (scikit-learn's TargetEncoder fits across folds
    for the same reason). Days are dealt to the folds in turn.
    """
    codes = np.empty(len(table))
    fold = table.day % CROSS_FITTED_FOLDS
    for each in np.unique(fold):
        inside = fold == each
        others = (
            fit_encoding(table.select(~inside))
            if not inside.all()
            else Encoding(merchant_codes={}, unknown_merchant_code=0.0)
        )
        codes[inside] = _merchant_codes(table.merchant_id[inside], others)
    return codes


def _merchant_codes(merchant_id: IntArray, encoding: Encoding) -> FloatArray:
    distinct, place = np.unique(merchant_id, return_inverse=True)
    codes = np.array([encoding.merchant(int(merchant)) for merchant in distinct], dtype=np.float64)
    return np.asarray(codes[place])


def feature_matrix(
    *,
    offer_micros: IntArray,
    day: IntArray,
    campaign_type: IntArray,
    merchant_id: IntArray,
    history: History,
    encoding: Encoding,
) -> Float32Array:
    """Return the features (rows, 7) in the order of `FEATURE_NAMES`; all arguments have one length.

    Offers are in currency units, the day of the week is 0 on Monday, the month 1 to 12.
    """
    months = (day - _UNIX_EPOCH_ORDINAL).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    columns = (
        offer_micros / MICROS_PER_UNIT,
        (day - 1) % 7,
        months % 12 + 1,
        campaign_type,
        _merchant_codes(merchant_id, encoding),
        history.impressions,
        history.conversions,
    )
    return np.column_stack(columns).astype(np.float32)


def table_features(table: DailyTable, history: History, encoding: Encoding) -> Float32Array:
    """Return the features (rows, 7) of every row of `table`."""
    return feature_matrix(
        offer_micros=table.offer_micros,
        day=table.day,
        campaign_type=table.campaign_type,
        merchant_id=table.merchant_id,
        history=history,
        encoding=encoding,
    )


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A campaign on one day, all but its offer: what a response curve is asked about."""

    day: date
    campaign_type: int
    merchant_id: int
    historical_impressions: int
    historical_conversions: int


def situation_features(
    situation: Situation, offers_micros: Sequence[int], encoding: Encoding, days: Sequence[date] = ()
) -> Float32Array:
    """Return the features (days x offers, 7) of one situation under each of `offers_micros`.

    Offers change fastest. `days` stand in the place of the situation's own, where there are any.
    """
    asked = days or (situation.day,)
    count = len(asked) * len(offers_micros)

    def repeated(value: int) -> IntArray:
        return np.full(count, value, dtype=np.int64)

    return feature_matrix(
        offer_micros=np.tile(np.array(offers_micros, dtype=np.int64), len(asked)),
        day=np.repeat(np.array([day.toordinal() for day in asked], dtype=np.int64), len(offers_micros)),
        campaign_type=repeated(situation.campaign_type),
        merchant_id=repeated(situation.merchant_id),
        history=History(
            impressions=repeated(situation.historical_impressions),
            conversions=repeated(situation.historical_conversions),
        ),
        encoding=encoding,
    )
