"""Jobs between the wire and what is kept of them; each service has messages of its own, all alike."""

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.common.errors import invalid_field
from services.common.job_operations import JobState, JobStatus
from services.common.wire import datetime_to_timestamp

JobMessage = TypeVar("JobMessage", bound=Message)
_STATES: Final[dict[JobState, str]] = {
    "waiting": "JOB_STATE_WAITING",
    "running": "JOB_STATE_RUNNING",
    "failing": "JOB_STATE_FAILING",
}


def job_name_from_proto(job_name: str) -> str:
    """Return the name of a job; refused where it is empty."""
    if not job_name:
        raise invalid_field("job_name", "must not be empty", "FIELD_REQUIRED")
    return job_name


def job_to_proto(job: JobStatus, message: Callable[..., JobMessage]) -> JobMessage:
    """Return a service's message of a job; times before the first of their kind stay unset."""
    record = job.record
    return message(
        job_name=record.job_name,
        schedule=record.schedule,
        state=_STATES[job.state],
        last_started_time=_time(record.last_started_at),
        last_finished_time=_time(record.last_finished_at),
        last_succeeded_time=_time(record.last_succeeded_at),
        next_run_time=_time(record.next_run_at),
        last_result=record.last_result,
        last_error=record.last_error,
        consecutive_failures=record.consecutive_failures,
    )


def _time(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else datetime_to_timestamp(moment)
