"""A run's calls as OpenTelemetry's own SDK gets to hear of them: in memory, and over its wire."""

from __future__ import annotations

import asyncio
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commandline import command
from driving import draw_images
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from truths import scripted_model

from unsaf_async.events import CallSettled
from unsaf_async.runs.begin import begin
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Settings
from unsaf_async.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan


async def traced(images: Sequence[Path], *more: CallSettled) -> tuple[tuple[ReadableSpan, ...], dict[str, Any]]:
    """(the spans, the metrics' points by name) of a run, after which further events are heard."""
    spans, metrics = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    prepared = await prepare(Settings("ada", images=images, out=Path("r"), questions=2, cache=None))
    with begin(prepared) as folder, Telemetry(folder.manifest, tracers, MeterProvider([metrics])) as telemetry:
        await Runner(folder, telemetry).run()
        for event in more:
            telemetry(event)
    data = metrics.get_metrics_data()
    assert data is not None
    (scope,) = data.resource_metrics[0].scope_metrics
    return spans.get_finished_spans(), {metric.name: list(metric.data.data_points) for metric in scope.metrics}


def test_a_run_is_a_span_and_each_call_one_below_it_by_the_conventions() -> None:
    scripted_model("ada", input_usd_per_mtok=1000)
    failed = CallSettled("answer", "ada", None, 0.0, 1.5, "Transient")
    spans, points = asyncio.run(traced(draw_images(Path("images"), 2), failed))
    score = SavedRun(Path("r")).findings

    (run,) = (each for each in spans if each.parent is None)
    calls = [each for each in spans if each.parent is not None]
    assert (run.name, run.attributes["unsaf.run_id"]) == ("run ada", SavedRun(Path("r")).manifest.run_id)
    assert {each.parent.span_id for each in calls} == {run.context.span_id}
    assert (len(calls), {each.kind for each in calls}) == (score.calls.made + 1, {SpanKind.CLIENT})
    assert {each.name for each in calls} == {"chat ada"}
    good = [each for each in calls if each.status.status_code is not StatusCode.ERROR]
    assert sum(each.attributes["gen_ai.usage.input_tokens"] for each in good) == score.tokens.input
    assert sum(each.attributes["gen_ai.usage.output_tokens"] for each in good) == score.tokens.output
    assert {each.attributes["gen_ai.operation.name"] for each in calls} == {"chat"}
    assert {each.attributes["gen_ai.request.model"] for each in calls} == {"ada"}
    (bad,) = (each for each in calls if each.status.status_code is StatusCode.ERROR)
    assert bad.attributes["error.type"] == "Transient"
    assert bad.end_time - bad.start_time == 1_500_000_000
    said = {text for each in SavedRun(Path("r")).examinations for q in each.questions for text in (q.text, q.response)}
    assert said.isdisjoint({str(value) for each in spans for value in each.attributes.values()})

    of_type = {point.attributes["gen_ai.token.type"]: point.sum for point in points["gen_ai.client.token.usage"]}
    assert of_type == {"input": score.tokens.input, "output": score.tokens.output}
    durations = points["gen_ai.client.operation.duration"]
    assert sum(point.count for point in durations) == score.calls.made + 1
    assert sum(point.value for point in points["unsaf.cost"]) == pytest.approx(score.cost_usd)
    assert sum(point.value for point in points["unsaf.images"]) == 2


@pytest.fixture
def collector() -> Iterator[tuple[str, dict[str, bytes]]]:
    """(the address of a collector, the last body that came on each of its paths)."""
    came: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came[self.path] = came.get(self.path, b"") + self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", came
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_command_line_sends_them_where_the_variables_say(
    collector: tuple[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address, came = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    scripted_model("ada")
    draw_images(Path("images"), 1)
    ended = command(
        capsys, "run", "--provider", "ada", "--images", "images", "--out", "r", "--otel", "--no-report", "-q"
    )
    assert ended.code == 0, ended.err
    sent = ExportTraceServiceRequest.FromString(came["/v1/traces"])  # bodies that follow each other are one message
    spans = [span for each in sent.resource_spans for scope in each.scope_spans for span in scope.spans]
    assert len(spans) == 1 + SavedRun(Path("r")).findings.calls.made
    assert came["/v1/metrics"]
    for question in SavedRun(Path("r")).examinations[0].questions:
        assert question.text.encode() not in came["/v1/traces"]


def test_without_the_sdk_it_is_one_line_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    ended = command(capsys, "run", "--provider", "scripted", "--out", "r", "--otel")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "--otel needs opentelemetry.sdk, which is not installed" in ended.err
    assert not Path("r").exists()
