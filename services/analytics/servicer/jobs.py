"""The methods that look after jobs."""

from gen.campaigns.analytics.v1 import operations_service_pb2 as pb
from gen.campaigns.analytics.v1.operations_service_pb2_grpc import OperationsServiceServicer
from services.analytics.servicer.context import Context
from services.common.job_messages import job_name_from_proto, job_to_proto
from services.common.job_operations import JobOperations


class JobMethods(OperationsServiceServicer):
    """Jobs, their last and next runs."""

    jobs: JobOperations

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        """List the jobs."""
        return pb.ListJobsResponse(jobs=[job_to_proto(job, pb.Job) for job in await self.jobs.list_jobs()])

    async def RunJob(self, request: pb.RunJobRequest, context: Context) -> pb.RunJobResponse:
        """Have a job run now."""
        job = await self.jobs.run_job(job_name_from_proto(request.job_name))
        return pb.RunJobResponse(job=job_to_proto(job, pb.Job))
