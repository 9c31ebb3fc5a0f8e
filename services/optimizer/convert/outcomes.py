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
        observed_views=outcome.observed_views,
        observed_conversions=outcome.observed_conversions,
        observed_conversion_rate=outcome.observed_rate,
        observed_conversion_rate_interval=interval_to_proto(outcome.observed_interval),
        previous_conversion_rate=outcome.previous_rate,
        observed_effect=outcome.effect,
        observed_effect_interval=interval_to_proto(outcome.effect_interval),
        apply_time=datetime_to_timestamp(outcome.applied_at),
        measure_time=datetime_to_timestamp(outcome.measured_at),
        is_final=outcome.is_final,
        effect_metric=outcome.effect_metric.value,
        previous_predicted_conversion_rate=outcome.previous_predicted_rate,
        previous_views=outcome.previous_views,
        previous_conversions=outcome.previous_conversions,
        previous_conversion_rate_interval=interval_to_proto(outcome.previous_interval),
    )


def _money(micros: int | None) -> float | None:
    return None if micros is None else micros_to_money(micros)
