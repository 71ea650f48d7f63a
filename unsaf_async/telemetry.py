"""A run's calls as OpenTelemetry traces and metrics, after the semantic conventions for generative AI.

A listener to the run's events: one span for the run, and below it one for each attempt that left. Prompts and replies are in
neither, nor are addresses. Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/ (spans of clients; client metrics).
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from unsaf_async.errors import UserError
from unsaf_async.events import CacheHit, CallRetried, CallSettled, ImageKept
from unsaf_async.text import install_extra

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from unsaf_async.events import Event
    from unsaf_async.providers.profile import Profile
    from unsaf_async.runs.folder import Manifest

SCOPE = "unsaf_async"
"""The instrumentation's name."""

_VENDORS = {"anthropic": "anthropic", "azure": "azure.ai.openai", "gemini": "gcp.gemini", "openai": "openai"}
"""The conventions' names of providers, by backend; of others the backend's own name."""

_NS = 1_000_000_000

_DURATIONS_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
"""The conventions' bounds of the histograms' buckets."""


def check_installed() -> None:
    """Checks that OpenTelemetry's SDK and its exporter are there. Neither is imported.

    Raises:
        UserError: One is not installed.
    """
    for name in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        try:
            there = find_spec(name) is not None
        except (ModuleNotFoundError, ValueError):
            there = False
        if not there:
            raise UserError(f"needs {name}, which is not installed; {install_extra('otel')}", field="otel")


class Exporting:
    """Providers that send to where OpenTelemetry's environment variables say, while the context lasts."""

    def __enter__(self) -> Self:
        """Makes the providers; nothing is sent yet."""
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource({SERVICE_NAME: "unsaf-async"}).merge(OTELResourceDetector().detect())
        self.tracers = TracerProvider(resource=resource)
        self.tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Sends what is left."""
        self.tracers.shutdown()
        self.meters.shutdown()


class Telemetry:
    """Hears a run's events and makes spans and metrics of them. A context manager: the run's span lasts as long.

    From Python: `with Telemetry(manifest) as telemetry: Runner(folder, telemetry)`.
    """

    def __init__(self, manifest: Manifest, tracer_provider: Any = None, meter_provider: Any = None) -> None:
        """A listener that has heard nothing.

        Args:
            manifest: The run's.
            tracer_provider: Of OpenTelemetry; None: the program's own.
            meter_provider: Likewise.
        """
        from opentelemetry import metrics, trace

        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(SCOPE, meter_provider=meter_provider)
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_DURATIONS_S,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._cost = meter.create_counter("unsaf.cost", "{USD}", "What attempts were booked with.")
        self._hits = meter.create_counter("unsaf.cache.hits", "{call}", "Calls that were answered without one leaving.")
        self._images = meter.create_counter("unsaf.images", "{image}", "Images that are in the journal.")
        self._manifest = manifest
        self._profiles = {each.name: each for each in (manifest.subject, *manifest.others.values())}
        self._span: Any = None
        self._context: Any = None

    def __enter__(self) -> Self:
        """Begins the run's span."""
        from opentelemetry import trace

        manifest = self._manifest
        about = {
            "unsaf.run_id": manifest.run_id,
            "unsaf.images": manifest.images,
            "unsaf.questions": manifest.questions,
            "unsaf.judge": manifest.judge_name,
            "unsaf.prompts.version": manifest.pack_version,
            **self._of_model(manifest.subject.name),
        }
        self._span = self._tracer.start_span(f"run {manifest.subject.name}", attributes=about)
        self._context = trace.set_span_in_context(self._span)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the run's span."""
        from opentelemetry.trace import Status, StatusCode

        if kind is not None:
            self._span.set_attribute("error.type", kind.__qualname__)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    def __call__(self, event: Event) -> None:
        """Hear an event.

        Args:
            event: Of the run.
        """
        match event:
            case CallSettled():
                self._settled(event)
            case CacheHit():
                self._hits.add(1, {"unsaf.role": event.role})
            case CallRetried():
                about = {
                    "unsaf.role": event.role,
                    "error.type": type(event.error).__name__,
                    "unsaf.wait_s": event.wait_s,
                }
                self._span.add_event("retry", about)
            case ImageKept():
                self._images.add(1, {"unsaf.failed": event.examination.failure is not None})
            case _:
                pass

    def _of_model(self, name: str) -> dict[str, str]:
        """The conventions' attributes of a model, by its profile's name."""
        profile: Profile | None = self._profiles.get(name)
        about = {"gen_ai.operation.name": "chat", "gen_ai.request.model": profile.wire_model if profile else name}
        if profile:
            about["gen_ai.provider.name"] = _VENDORS.get(profile.backend, profile.backend)
        return about

    def _settled(self, event: CallSettled) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode

        about, reply = self._of_model(event.provider), event.reply
        seconds = reply.latency_s if reply else event.seconds
        of_span: dict[str, Any] = {"unsaf.role": event.role, "unsaf.cost_usd": event.cost_usd}
        if reply:
            of_span["gen_ai.usage.input_tokens"] = reply.usage.input_tokens
            of_span["gen_ai.usage.output_tokens"] = reply.usage.output_tokens
            of_span["gen_ai.response.finish_reasons"] = [reply.finish_reason or reply.outcome]
            if reply.model:
                about["gen_ai.response.model"] = reply.model
        else:
            about["error.type"] = event.error or "_OTHER"
        end_ns = time.time_ns()
        span = self._tracer.start_span(
            f"chat {about['gen_ai.request.model']}",
            self._context,
            SpanKind.CLIENT,
            about | of_span,
            start_time=end_ns - round(seconds * _NS),
        )
        if not reply:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_ns)
        if seconds:  # a batch's time says nothing of the model's
            self._duration.record(seconds, about)
        if reply:
            self._tokens.record(reply.usage.input_tokens, about | {"gen_ai.token.type": "input"})
            self._tokens.record(reply.usage.output_tokens, about | {"gen_ai.token.type": "output"})
        self._cost.add(event.cost_usd, self._of_model(event.provider))
