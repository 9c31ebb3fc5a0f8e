"""Outcomes between the wire and the domain."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from gen.campaigns.optimizer.v1 import outcomes_pb2 as pb
from services.common.paging import decode_own_token, encode_page_token, unusable_token
from services.common.wire import datetime_to_timestamp, micros_to_money
from services.optimizer.convert.checks import LONGEST_ID, optional_text
from services.optimizer.convert.ranges import interval_to_proto
from services.optimizer.domain.recommendations.outcomes import Outcome, OutcomeKey
from services.optimizer.domain.recommendations.promises import Promise
from services.optimizer.domain.recommendations.worth import BeforeAfter, Figure, Worth
from services.optimizer.operations.offer_outcomes import OutcomePage

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def campaign_id_from_proto(request: pb.ListOfferOutcomesRequest) -> str:
    """Return the campaign asked about; empty for every one."""
    return optional_text(request.campaign_id, "campaign_id", longest=LONGEST_ID)


def key_from_proto(request: pb.ListOfferOutcomesRequest) -> OutcomeKey | None:
    """Return where the page before ended; None for the first page."""
    cursor = decode_own_token(
        request.page_token, keys=("applied", "id"), filters={"campaign_id": request.campaign_id}
    )
    if not cursor:
        return None
    try:
        applied_at = _EPOCH + int(cursor["applied"]) * _MICROSECOND
        return OutcomeKey(applied_at=applied_at, history_id=str(UUID(str(cursor["id"]))))
    except (ValueError, OverflowError) as error:
        raise unusable_token() from error


def page_to_proto(page: OutcomePage, campaign_id: str) -> pb.ListOfferOutcomesResponse:
    """Return a page of outcomes."""
    token = ""
    if page.next_key is not None:
        token = encode_page_token(
            {
                "applied": (page.next_key.applied_at - _EPOCH) // _MICROSECOND,
                "id": page.next_key.history_id,
                "campaign_id": campaign_id,
            }
        )
    return pb.ListOfferOutcomesResponse(
        outcomes=[_outcome_to_proto(outcome) for outcome in page.outcomes], next_page_token=token
    )


def _outcome_to_proto(outcome: Outcome) -> pb.OfferOutcome:
    effect = outcome.told_effect
    return pb.OfferOutcome(
        campaign_id=outcome.campaign_id,
        source=outcome.source.value,
        source_id=outcome.source_id,
        type=outcome.type.value,
        choice=outcome.choice,
        previous_offer=_money(outcome.previous_offer_micros),
        offer_amount=_money(outcome.offer_micros),
        predicted_conversion_rate=outcome.predicted_rate,
        predicted_conversion_rate_interval=interval_to_proto(outcome.predicted_interval),
        expected_effect=outcome.expected_effect,
        expected_effect_interval=interval_to_proto(outcome.expected_effect_interval),
        observed_views=outcome.observed_views,
        observed_conversions=outcome.observed_conversions,
        observed_conversion_rate=outcome.observed_rate,
        observed_conversion_rate_interval=interval_to_proto(outcome.observed_rate_interval),
        previous_conversion_rate=outcome.previous_rate,
        observed_effect=None if effect is None else effect.value,
        observed_effect_interval=None if effect is None else interval_to_proto(effect.interval),
        apply_time=datetime_to_timestamp(outcome.applied_at),
        measure_time=datetime_to_timestamp(outcome.measured_at),
        is_final=outcome.is_final,
        effect_metric=outcome.effect_metric.value,
        previous_predicted_conversion_rate=outcome.previous_predicted_rate,
        previous_views=outcome.previous_views,
        previous_conversions=outcome.previous_conversions,
        previous_conversion_rate_interval=interval_to_proto(outcome.previous_rate_interval),
        worth=_worth_to_proto(outcome.worth),
        concurrent_worth=_worth_to_proto(outcome.concurrent),
        promise=_promise_to_proto(outcome.promise),
        comparison=outcome.comparison.value,
        reading=outcome.comparison.reading,
    )


def _worth_to_proto(worth: Worth | None) -> pb.OutcomeWorth | None:
    if worth is None:
        return None
    return pb.OutcomeWorth(
        currency_code=worth.currency_code,
        gross_margin_rate=worth.gross_margin_rate,
        clustering=worth.clustering.value,
        observed_users=worth.observed_users,
        previous_users=worth.previous_users,
        profit=_earnings_to_proto(worth.profit),
        revenue=_earnings_to_proto(worth.revenue),
        predicted_profit=worth.predicted_profit,
        previous_predicted_profit=worth.previous_predicted_profit,
        observed_trials=worth.observed_trials,
        previous_trials=worth.previous_trials,
    )


def _earnings_to_proto(earned: BeforeAfter | None) -> pb.OutcomeEarnings | None:
    if earned is None:
        return None
    return pb.OutcomeEarnings(
        observed=_figure_to_proto(earned.observed),
        previous=_figure_to_proto(earned.previous),
        change=_figure_to_proto(earned.change),
        effect=_figure_to_proto(earned.effect),
    )


def _figure_to_proto(figure: Figure | None) -> pb.OutcomeFigure | None:
    if figure is None:
        return None
    return pb.OutcomeFigure(value=figure.value, interval=interval_to_proto(figure.interval))


def _promise_to_proto(promise: Promise | None) -> pb.OutcomePromise | None:
    if promise is None:
        return None
    return pb.OutcomePromise(
        metric=promise.metric,
        expected=_figure_to_proto(promise.expected),
        observed=_figure_to_proto(promise.observed),
        difference=_figure_to_proto(promise.difference),
        agreement="" if promise.agreement is None else promise.agreement.value,
    )


def _money(micros: int | None) -> float | None:
    return None if micros is None else micros_to_money(micros)
