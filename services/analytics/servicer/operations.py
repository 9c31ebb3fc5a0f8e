"""OperationsService as a whole: its methods by subject. What is in none of them answers UNIMPLEMENTED."""

from services.analytics.operations.recount import RecountOperations
from services.analytics.servicer.jobs import JobMethods
from services.analytics.servicer.recount import RecountMethods
from services.common.job_operations import JobOperations


class OperationsServicer(JobMethods, RecountMethods):
    """campaigns.analytics.v1.OperationsService."""

    def __init__(self, *, jobs: JobOperations, recount: RecountOperations) -> None:
        self.jobs = jobs
        self.recount = recount
