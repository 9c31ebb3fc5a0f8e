"""The services; what holds for every process of theirs, before it imports anything else."""

import os

# No gRPC call of ours crosses a fork. With its fork handlers gRPC warns at every child that a service starts,
# and now and then kills the child (SIGSEGV). It reads this when it is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
