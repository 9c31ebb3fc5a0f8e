"""Send times between the wire and the domain."""

from collections.abc import Iterator
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from gen.campaigns.optimizer.v1 import send_time_pb2 as pb
from gen.campaigns.type.v1 import campaign_pb2
from services.common.errors import invalid_field
from services.optimizer.convert.checks import required_id
from services.optimizer.convert.ranges import interval_to_proto
from services.optimizer.domain.send_time.counts import HOURS
from services.optimizer.domain.send_time.send_time import (
    CONFIDENCE_METHOD,
    WEEKDAY_NAMES,
    KeptSendTime,
    QuietHours,
    SendTime,
)
from services.optimizer.operations.send_times import JOB_NAME

TOP_HOURS: Final = 3
INTERIM: Final = (
    f"everybody's hours are not learned yet (the job {JOB_NAME} does that): this is from the user's own"
    " history alone, and may change once they are"
)
_NOON: Final = 12


def user_id_from_proto(request: pb.OptimizeSendTimeRequest) -> str:
    """Return the user asked about."""
    return required_id(request.user_id, "user_id")


def campaign_type_from_proto(request: pb.OptimizeSendTimeRequest) -> int:
    """Return the type, 0 for any."""
    if request.campaign_type not in campaign_pb2.CampaignType.values():
        raise invalid_field("campaign_type", "is no known campaign type", "VALUE_UNKNOWN")
    return request.campaign_type


def quiet_hours_from_proto(request: pb.OptimizeSendTimeRequest) -> QuietHours | None:
    """Return the quiet hours that a request names, None where it names none."""
    start = request.quiet_start_hour if request.HasField("quiet_start_hour") else None
    end = request.quiet_end_hour if request.HasField("quiet_end_hour") else None
    for field, hour in (("quiet_start_hour", start), ("quiet_end_hour", end)):
        if hour is not None and not 0 <= hour < HOURS:
            raise invalid_field(field, "must be from 0 to 23", "VALUE_OUT_OF_RANGE")
    if start is not None and end is not None:
        return QuietHours(start=start, end=end)
    if start is not None:
        raise invalid_field("quiet_end_hour", "is required with quiet_start_hour", "FIELD_REQUIRED")
    if end is not None:
        raise invalid_field("quiet_start_hour", "is required with quiet_end_hour", "FIELD_REQUIRED")
    return None


def answer_to_proto(kept: KeptSendTime) -> pb.OptimizeSendTimeResponse:
    """Return a user's send time."""
    best = kept.send_time
    computed_time = Timestamp()
    computed_time.FromDatetime(kept.computed_at)
    return pb.OptimizeSendTimeResponse(
        user_id=best.user_id,
        optimal_hour=best.optimal_hour,
        optimal_day=WEEKDAY_NAMES[best.optimal_day],
        optimal_window=window_text(best.optimal_hour),
        top_hours=_hours_to_proto(best, is_interim=kept.is_interim),
        expected_conversion_rate=best.conversion_rate,
        expected_conversion_rate_interval=interval_to_proto(best.conversion_rate_interval),
        confidence=best.confidence,
        confidence_method=CONFIDENCE_METHOD,
        time_zone=kept.time_zone,
        source=best.source.value,
        quiet_start_hour=best.quiet.start,
        quiet_end_hour=best.quiet.end,
        top_days=[
            pb.DayScore(
                day=WEEKDAY_NAMES[day],
                score=best.days.values[day],
                probability=best.days.probabilities[day],
                score_interval=None if kept.is_interim else interval_to_proto(best.days.value_interval(day)),
            )
            for day in best.days.ranked()
        ],
        observed_events=best.evidence,
        computed_time=computed_time,
        is_interim=kept.is_interim,
        warnings=list(_warn(kept)),
    )


def _warn(kept: KeptSendTime) -> Iterator[str]:
    if not kept.is_zone_known:
        yield (
            "The user's time zone is not known (upsert the user with time_zone): hours and quiet hours are"
            f" those of {kept.time_zone}, the reporting zone, and may be night where the user is."
        )
    if kept.is_interim:
        yield INTERIM


def window_text(hour: int) -> str:
    """An hour for a person, as `7:00 PM - 8:00 PM`."""
    return f"{_clock_text(hour)} - {_clock_text((hour + 1) % HOURS)}"


def _clock_text(hour: int) -> str:
    return f"{(hour - 1) % _NOON + 1}:00 {'AM' if hour < _NOON else 'PM'}"


def _hours_to_proto(best: SendTime, *, is_interim: bool) -> list[pb.HourScore]:
    scores = best.hours
    return [
        pb.HourScore(
            hour=hour,
            expected_conversion_rate=None
            if scores.conversion_rates is None
            else scores.conversion_rates[hour],
            expected_view_rate=None if scores.view_rates is None else scores.view_rates[hour],
            score=scores.values[hour],
            probability=scores.probabilities[hour],
            expected_conversion_rate_interval=interval_to_proto(scores.conversion_interval(hour)),
            expected_view_rate_interval=interval_to_proto(scores.view_interval(hour)),
            score_interval=None if is_interim else interval_to_proto(scores.value_interval(hour)),
        )
        for hour in best.ranked_hours[:TOP_HOURS]
    ]
