"""OperationsService as a whole: its methods by subject. What is in none of them answers UNIMPLEMENTED."""

from services.analytics.operations.jobs import JobOperations
from services.analytics.servicer.jobs import JobMethods


class OperationsServicer(JobMethods):
    """campaigns.analytics.v1.OperationsService."""

    def __init__(self, *, jobs: JobOperations) -> None:
        self.jobs = jobs
