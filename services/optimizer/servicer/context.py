"""What every method here is given beside its request."""

from typing import Any, TypeAlias

import grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # a string: it takes parameters in its stub only
