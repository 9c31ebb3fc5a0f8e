"""Recommended hours through a real server: users reached, the hours kept of them, and what an hour gains."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from services.optimizer.domain.send_time.documents import profile_to_document
from services.optimizer.domain.send_time.profile import SendTimeProfile
from services.optimizer.domain.send_time.timing_gain import GainCalibration
from tests.contract.optimizer.event_log import DELIVERED, Event, insert_events
from tests.contract.optimizer.recommendation_stand import CAMPAIGN, Closed, by_type, reasons


async def insert_send_times(closed: Closed, *, peaks: tuple[int, ...]) -> None:
    """Users of New York reached at 9:00 their time, whose best hours are `peaks`, in turn."""
    events = []
    for place in range(60):
        values = np.full(24, 0.02)
        values[peaks[place % len(peaks)]] = 0.1
        await closed.execute(
            "insert into optimizer.user_optimal_send_times (user_id, campaign_type, time_zone, optimal_hour,"
            " optimal_day, observed_events, computed_at, source, quiet_start_hour, quiet_end_hour,"
            " hour_values, hour_probabilities, day_values, day_probabilities)"
            " values ($1, 0, 'America/New_York', $2, 0, 5, now(), 'user', 22, 7, $3, $3, $4, $4)",
            f"u{place}",
            peaks[place % len(peaks)],
            values.tolist(),
            [1 / 7] * 7,
        )
        at = datetime(2026, 11, 10, 14, place, tzinfo=UTC)
        events.append(
            Event(user_id=f"u{place}", event_id="d", event_type=DELIVERED, at=at, campaign_id=CAMPAIGN)
        )
    await insert_events(closed.addresses.admin, events)
    gain = GainCalibration(
        coefficients=(1.0, 0.0, 0.0, 0.0),
        covariance=((0.01, 0.0, 0.0, 0.0), *((0.0,) * 4 for _ in range(3))),
        campaign_variance=0.0,
        user_variance=0.0,
        hour_variance=0.0,
        hour_variance_error=0.0,
        conversions=900,
    )
    profile = replace(SendTimeProfile.unlearned(), gain=gain)
    await closed.execute(
        "insert into optimizer.send_time_profiles values ('everybody', now(), 60, $1)",
        json.dumps(profile_to_document(profile)),
    )


@pytest.mark.parametrize(
    ("peaks", "choice", "gain"), [((19,), "19", 4.0), ((9, 12, 19), "own_best_hour", 0.1 / (0.14 / 3) - 1)]
)
async def test_better_hours_are_recommended(
    closed: Closed, peaks: tuple[int, ...], choice: str, gain: float
) -> None:
    await insert_send_times(closed, peaks=peaks)
    timing = by_type(await closed.recommend())["timing"]
    assert (timing.choice, timing.effect_metric) == (choice, "conversions_per_impression")
    # So far above the bar that being recommended takes nothing away.
    assert timing.expected_effect == pytest.approx(gain, rel=1e-3)
    interval = timing.expected_effect_interval
    assert -1 < interval.lower < gain < interval.upper
    assert (1 + interval.lower) * (1 + interval.upper) == pytest.approx((1 + gain) ** 2, rel=1e-3)
    assert "60 users lately reached" in timing.evidence
    assert "900 conversions" in timing.evidence


async def test_what_an_hour_gains_may_be_unknown(closed: Closed) -> None:
    await insert_send_times(closed, peaks=(19,))
    await closed.execute("update optimizer.send_time_profiles set document = document - 'gain'")
    assert reasons(await closed.recommend())["timing"] == "TIMING_GAIN_UNKNOWN"
    await closed.execute("delete from optimizer.send_time_profiles")
    assert reasons(await closed.recommend())["timing"] == "TIMING_GAIN_UNKNOWN"


async def test_users_without_send_times_are_counted(closed: Closed) -> None:
    await insert_send_times(closed, peaks=(19,))
    await closed.execute("delete from optimizer.user_optimal_send_times where user_id >= 'u2'")
    answer = await closed.recommend()
    assert reasons(answer)["timing"] == "SEND_TIMES_UNKNOWN"
    (message,) = [each.message for each in answer.withheld if each.type == "timing"]
    assert "Of 60 users lately reached 12 have send times" in message
