"""A test's groups on the wire."""

from collections.abc import Sequence

from gen.campaigns.abtest.v1 import tests_pb2 as pb
from services.abtest.domain.model import ABTest


def groups_to_proto(test: ABTest, users: Sequence[int]) -> list[pb.TestGroup]:
    """Return the groups of a test with `users` in each, by its current weights."""
    return [
        pb.TestGroup(group=group.name, campaign_id=group.campaign_id, traffic_weight=weight, users=count)
        for group, weight, count in zip(test.design.groups, test.epoch.weights, users, strict=True)
    ]
