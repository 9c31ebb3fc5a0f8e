"""The methods that look after jobs."""

from gen.campaigns.analytics.v1 import operations_service_pb2 as pb
from gen.campaigns.analytics.v1.operations_service_pb2_grpc import OperationsServiceServicer
from services.analytics.convert import jobs as convert_jobs
from services.analytics.servicer.context import Context
from services.common.job_operations import JobOperations


class JobMethods(OperationsServiceServicer):
    """Jobs, their last and next runs."""

    jobs: JobOperations

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        """List the jobs."""
        jobs = await self.jobs.list_jobs()
        return pb.ListJobsResponse(jobs=[convert_jobs.job_to_proto(job) for job in jobs])

    async def RunJob(self, request: pb.RunJobRequest, context: Context) -> pb.RunJobResponse:
        """Have a job run now."""
        job = await self.jobs.run_job(convert_jobs.job_name_from_proto(request.job_name))
        return pb.RunJobResponse(job=convert_jobs.job_to_proto(job))
