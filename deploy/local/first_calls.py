"""Three calls to begin with, each as one would type it, each with the answer it just got."""

import asyncio
import http.client
import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.local.client import call
from deploy.local.console import Console
from deploy.local.paths import DESCRIPTOR, REPOSITORY
from deploy.local.programs import inherited_environment
from deploy.local.settings import HOST, RunSettings

_CALL_SECONDS = 30.0
_SHOWN_LINES = 16
_LONGEST_LINE = 160

_OFFER_CLIENT = """\
import grpc
from gen.campaigns.optimizer.v1 import offers_pb2, optimizer_service_pb2_grpc

with grpc.insecure_channel("{target}") as channel:
    optimizer = optimizer_service_pb2_grpc.OptimizerServiceStub(channel)
    request = offers_pb2.OptimizeOfferRequest(campaign_id="{campaign_id}")
    offer = optimizer.OptimizeOffer(request, timeout=10)
    rate = offer.predicted_conversion_rate
    print(f"offer ${{offer.offer_amount:.2f}}, of whose views {{rate:.2%}} should convert")
"""
_CATALOG_CLIENT = """\
import grpc
from gen.campaigns.analytics.v1 import catalog_service_pb2, catalog_service_pb2_grpc

with grpc.insecure_channel("{target}") as channel:
    catalog = catalog_service_pb2_grpc.CatalogServiceStub(channel)
    answer = catalog.ListCampaigns(catalog_service_pb2.ListCampaignsRequest(page_size=3), timeout=10)
    print([campaign.campaign_id for campaign in answer.campaigns])
"""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A call: what it is for, how a person types it, and how it is run here."""

    title: str
    typed: str
    command: Sequence[str]


async def print_first_calls(settings: RunSettings, console: Console, *, has_model: bool) -> None:
    """Make the three calls at the same time and show each with its real answer."""
    campaign_id = await _first_campaign(settings.gateway_port)
    examples = first_calls(
        settings.gateway_port,
        campaign_id=campaign_id,
        has_model=has_model,
        demo=settings.demo,
    )
    answers = await asyncio.gather(*(_answer(example) for example in examples))
    for example, answer in zip(examples, answers, strict=True):
        console.plain(f"\n{example.title}:\n\n{example.typed}\n\nanswers:\n\n{_indent(answer)}")
    console.plain("")


def first_calls(port: int, *, campaign_id: str | None, has_model: bool, demo: str) -> list[Example]:
    """Return the calls that suit what the system holds."""
    days = "start_date=2017-07-04&end_date=2017-07-04" if demo == "complete-journey" else "days=30"
    url = f"http://{HOST}:{port}/api/analytics/portfolio?{days}"
    return [
        Example(
            title="REST, with curl",
            typed=f"curl -s '{url}'",
            command=["curl", "-s", url],
        ),
        _grpc_call(port, campaign_id),
        _python_client(port, campaign_id if has_model else None),
    ]


def _grpc_call(port: int, campaign_id: str | None) -> Example:
    rpc, request = "campaigns.analytics.v1.CatalogService/ListMerchants", '{"page_size": 3}'
    if campaign_id is not None:
        rpc = "campaigns.analytics.v1.AnalyticsService/GetCampaignMetrics"
        request = f'{{"campaign_id": "{campaign_id}"}}'
    buf = Path(sys.executable).with_name("buf")
    schema = DESCRIPTOR.relative_to(REPOSITORY)
    options = ["curl", "--protocol", "grpc", "--http2-prior-knowledge", "--schema", str(schema)]
    url = f"http://{HOST}:{port}/{rpc}"
    shown = f"{_shown(buf)} {' '.join(options)} \\\n  -d '{request}' {url}"
    return Example(title="gRPC, with buf", typed=shown, command=[str(buf), *options, "-d", request, url])


def _python_client(port: int, campaign_id: str | None) -> Example:
    source = _OFFER_CLIENT if campaign_id is not None else _CATALOG_CLIENT
    program = source.format(target=f"{HOST}:{port}", campaign_id=campaign_id)
    python = Path(sys.executable)
    return Example(
        title="gRPC, with a Python client",
        typed=f"{_shown(python)} <<'END'\n{program}END",
        command=[str(python), "-c", program],
    )


async def _first_campaign(port: int) -> str | None:
    answer = await call(port, "GET", "/api/catalog/campaigns?page_size=1")
    if answer.status != http.client.OK or not answer.body.get("campaigns"):
        return None
    return str(answer.body["campaigns"][0]["campaign_id"])


async def _answer(example: Example) -> str:
    if shutil.which(example.command[0]) is None:
        return f"({example.command[0]} is not installed here, so this call was not made)"
    process = await asyncio.create_subprocess_exec(
        *example.command,
        cwd=REPOSITORY,
        env={**inherited_environment(), "PYTHONPATH": str(REPOSITORY)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _CALL_SECONDS)
    except TimeoutError:
        return f"(no answer within {_CALL_SECONDS:.0f} s)"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return shorten_answer(output.decode(errors="replace").strip())


def shorten_answer(text: str) -> str:
    """Return an answer as a person reads it: JSON indented, and only the first lines of a long one."""
    with suppress(ValueError):
        document = json.loads(text)
        if isinstance(document, dict | list):
            text = json.dumps(document, indent=2, ensure_ascii=False)
    lines = text.splitlines()
    shown = [line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…" for line in lines]
    if len(lines) > _SHOWN_LINES:
        shown[_SHOWN_LINES:] = [f"… ({len(lines) - _SHOWN_LINES} lines more)"]
    return "\n".join(shown)


def _shown(path: Path) -> str:
    """Return a path as one types it in the repository's root."""
    return os.path.relpath(path, REPOSITORY) if path.is_relative_to(REPOSITORY) else path.name


def _indent(text: str) -> str:
    return f"    {text.strip()}".replace("\n", "\n    ")
