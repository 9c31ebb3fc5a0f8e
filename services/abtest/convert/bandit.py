"""Bandits on the wire."""

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from gen.campaigns.abtest.v1 import bandit_pb2 as pb
from services.abtest.convert.comparisons import interval_to_proto
from services.abtest.convert.violations import Violations
from services.abtest.domain.bandit import METHOD, BanditDesign, BanditStep
from services.abtest.domain.bandit_posteriors import credible_interval
from services.abtest.domain.hashing import BUCKETS
from services.abtest.operations.bandit import BanditPage, BanditView
from services.common.errors import invalid_field
from services.common.paging import decode_page_token, encode_page_token
from services.common.wire import datetime_to_timestamp

DEFAULT_FLOOR: Final = 0.05
DEFAULT_REFRESH_SECONDS: Final = 3600
DEFAULT_MINIMUM_USERS: Final = 100
DEFAULT_STOPPING_GAIN: Final = 0.01
DEFAULT_STOPPING_PROBABILITY: Final = 0.95
DEFAULT_PAGE_SIZE: Final = 100
_LARGEST_PAGE = 1000
_SMALLEST_FLOOR = 0.01
_SHORTEST_REFRESH, _LONGEST_REFRESH = 60, 604_800
_MOST_USERS = 1_000_000_000
_LOWEST_PROBABILITY, _HIGHEST_PROBABILITY = 0.5, 0.999
_FIRST_PAGE = 2**31 - 1


def bandit_from_proto(
    settings: pb.BanditSettings, groups: int, coverage: float, violations: Violations, field: str = "bandit"
) -> BanditDesign:
    """Return how a test of so many groups moves traffic; what is wrong is noted under `field`.

    Whatever the weights become, the floor has to leave each group one of the 10,000 buckets at the coverage.
    """
    design = BanditDesign(
        exploration_floor=settings.exploration_floor
        if settings.HasField("exploration_floor")
        else min(DEFAULT_FLOOR, 1.0 / groups),
        refresh_interval_seconds=settings.refresh_interval_seconds
        if settings.HasField("refresh_interval_seconds")
        else DEFAULT_REFRESH_SECONDS,
        minimum_users_per_group=settings.minimum_users_per_group
        if settings.HasField("minimum_users_per_group")
        else DEFAULT_MINIMUM_USERS,
        stopping_gain=settings.stopping_gain if settings.HasField("stopping_gain") else DEFAULT_STOPPING_GAIN,
        stopping_probability=settings.stopping_probability
        if settings.HasField("stopping_probability")
        else DEFAULT_STOPPING_PROBABILITY,
    )
    ranges: tuple[tuple[str, bool, str], ...] = (
        (
            "exploration_floor",
            _SMALLEST_FLOOR <= design.exploration_floor <= 1.0 / groups,
            f"must lie between {_SMALLEST_FLOOR} and 1 / the number of groups",
        ),
        (
            "refresh_interval_seconds",
            _SHORTEST_REFRESH <= design.refresh_interval_seconds <= _LONGEST_REFRESH,
            f"must lie between {_SHORTEST_REFRESH} and {_LONGEST_REFRESH}",
        ),
        (
            "minimum_users_per_group",
            1 <= design.minimum_users_per_group <= _MOST_USERS,
            f"must lie between 1 and {_MOST_USERS}",
        ),
        ("stopping_gain", 0.0 < design.stopping_gain <= 1.0, "must be above 0 and at most 1"),
        (
            "stopping_probability",
            _LOWEST_PROBABILITY <= design.stopping_probability <= _HIGHEST_PROBABILITY,
            f"must lie between {_LOWEST_PROBABILITY} and {_HIGHEST_PROBABILITY}",
        ),
    )
    for name, holds, description in ranges:
        violations.check(holds, f"{field}.{name}", description, "VALUE_OUT_OF_RANGE")
    violations.check(
        not (coverage > 0.0 and design.exploration_floor >= _SMALLEST_FLOOR)
        or design.exploration_floor * coverage * BUCKETS >= 1.0,
        f"{field}.exploration_floor",
        f"leaves a group without any of the {BUCKETS} buckets at this coverage; raise it or the coverage",
        "WEIGHTS_UNREACHABLE",
    )
    return design


def settings_to_proto(design: BanditDesign) -> pb.BanditSettings:
    """Return a bandit's settings, with no default left out."""
    return pb.BanditSettings(
        exploration_floor=design.exploration_floor,
        refresh_interval_seconds=design.refresh_interval_seconds,
        minimum_users_per_group=design.minimum_users_per_group,
        stopping_gain=design.stopping_gain,
        stopping_probability=design.stopping_probability,
    )


def bandit_to_proto(view: BanditView) -> pb.GetBanditResponse:
    """Return how a bandit stands."""
    test, state = view.test, view.state
    names = [group.name for group in test.design.groups]
    leader = state.leader
    return pb.GetBanditResponse(
        test_id=test.test_id,
        settings=settings_to_proto(view.bandit.design),
        is_active=test.is_active,
        groups=[_group_to_proto(view, index) for index in range(len(names))],
        leader=names[leader.group_index] if leader else None,
        probability_gain_is_small=leader.probability_gain_is_small if leader else None,
        remaining_gain=leader.remaining_gain if leader else None,
        stopping_rule_is_met=state.stops,
        reason=state.reason,
        last_refresh_time=_refresh_time(view),
        method=METHOD,
        metric=test.design.primary_metric.name,
    )


def _refresh_time(view: BanditView) -> Timestamp | None:
    moment = view.bandit.refreshed_at
    return None if moment is None else datetime_to_timestamp(moment)


def _group_to_proto(view: BanditView, index: int) -> pb.BanditGroup:
    group, state = view.test.design.groups[index], view.state
    best = state.probabilities_best
    posterior = state.posteriors[index] if state.posteriors else None
    return pb.BanditGroup(
        group=group.name,
        campaign_id=group.campaign_id,
        traffic_weight=view.test.epoch.weights[index],
        users=view.users[index],
        value=posterior.mean if posterior else None,
        credible_interval=interval_to_proto(credible_interval(posterior)) if posterior else None,
        probability_best=best[index] if best else None,
        next_traffic_weight=state.next_weights[index],
    )


def steps_from_proto(request: pb.ListBanditStepsRequest) -> tuple[int, int]:
    """Return how many steps a page has, and the number that it starts before."""
    size = request.page_size if request.HasField("page_size") else DEFAULT_PAGE_SIZE
    if not 1 <= size <= _LARGEST_PAGE:
        raise invalid_field("page_size", f"must lie between 1 and {_LARGEST_PAGE}", "VALUE_OUT_OF_RANGE")
    cursor = decode_page_token(request.page_token)
    if not cursor:
        return size, _FIRST_PAGE
    before = cursor.get("before_step")
    if not isinstance(before, int) or not 1 <= before <= _FIRST_PAGE:
        raise invalid_field(
            "page_token", "is not a token of an earlier page of this list", "PAGE_TOKEN_INVALID"
        )
    return size, before


def steps_to_proto(page: BanditPage) -> pb.ListBanditStepsResponse:
    """Return a page of what a bandit decided."""
    names = [group.name for group in page.test.design.groups]
    token = "" if page.next_before is None else encode_page_token({"before_step": page.next_before})
    return pb.ListBanditStepsResponse(
        steps=[_step_to_proto(step, names) for step in page.steps], next_page_token=token
    )


def _step_to_proto(step: BanditStep, names: list[str]) -> pb.BanditStep:
    best = step.probabilities_best
    return pb.BanditStep(
        step_number=step.number,
        decide_time=datetime_to_timestamp(step.decided_at),
        epoch=step.epoch,
        weights_changed=step.weights_changed,
        groups=[
            pb.BanditStepGroup(
                group=name,
                users=step.users[index],
                value=step.values[index] if step.values else None,
                probability_best=best[index] if best else None,
                traffic_weight=step.weights[index],
            )
            for index, name in enumerate(names)
        ],
        leader=None if step.leader_index is None else names[step.leader_index],
        probability_gain_is_small=step.probability_gain_is_small,
        stopped=step.stopped,
        reason=step.reason,
    )
