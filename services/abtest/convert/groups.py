"""A test's groups on the wire."""

from collections.abc import Sequence

from gen.campaigns.abtest.v1 import tests_pb2 as pb
from services.abtest.domain.model import ABTest


def groups_to_proto(test: ABTest, users: Sequence[int] | None) -> list[pb.TestGroup]:
    """Return the groups of a test by its current weights, with `users` in each where they were counted."""
    counts: Sequence[int | None] = users or [None] * len(test.design.groups)
    return [
        pb.TestGroup(group=group.name, campaign_id=group.campaign_id, traffic_weight=weight, users=count)
        for group, weight, count in zip(test.design.groups, test.epoch.weights, counts, strict=True)
    ]
