"""Changes of the live version, between the wire and the domain."""

from collections.abc import Sequence
from typing import Final

from gen.campaigns.optimizer.v1 import model_changes_pb2 as pb
from services.common.paging import decode_own_token, encode_page_token, unusable_token
from services.common.wire import datetime_to_timestamp
from services.optimizer.convert.checks import optional_limit
from services.optimizer.convert.training import DEFAULT_LIMIT, LARGEST_LIMIT
from services.optimizer.domain.models.changes import ModelChange

_BEYOND: Final = 2**63 - 1


def changes_limit_from_proto(request: pb.ListModelChangesRequest) -> int:
    """Return how many changes a page has."""
    limit = request.limit if request.HasField("limit") else None
    return optional_limit(limit, default=DEFAULT_LIMIT, most=LARGEST_LIMIT)


def changes_start_from_proto(request: pb.ListModelChangesRequest) -> int:
    """Return the number of the change before which the page begins."""
    cursor = decode_own_token(request.page_token, keys=("change",))
    if not cursor:
        return _BEYOND
    number = cursor["change"]
    if not isinstance(number, int) or not 0 <= number <= _BEYOND:
        raise unusable_token()
    return number


def changes_to_proto(changes: Sequence[ModelChange], limit: int) -> pb.ListModelChangesResponse:
    """Return a page of changes; none comes before the first, so that its page is known to be the last."""
    token = ""
    if len(changes) == limit and changes[-1].number > 1:
        token = encode_page_token({"change": changes[-1].number})
    return pb.ListModelChangesResponse(
        changes=[_change_to_proto(change) for change in changes], next_page_token=token
    )


def _change_to_proto(change: ModelChange) -> pb.ModelChange:
    ended = change.ended_at
    return pb.ModelChange(
        change_number=change.number,
        kind=change.kind.value,
        is_automatic=change.is_automatic,
        cause="" if change.cause is None else change.cause.value,
        actor=change.note.actor,
        comment=change.note.comment,
        reason=change.reason,
        previous_version=change.previous,
        version=change.version,
        change_time=datetime_to_timestamp(change.changed_at),
        end_time=None if ended is None else datetime_to_timestamp(ended),
        training_id="" if change.training_id is None else str(change.training_id),
        is_reconstructed=change.is_reconstructed,
    )
