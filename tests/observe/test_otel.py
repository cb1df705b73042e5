"""`rapyer.otel`: spans and metrics, read back from the SDK's in-memory exporters."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from rapyer import AtomicRedisModel
from rapyer.errors import KeyNotFound
from rapyer.otel import instrument


class Traced(AtomicRedisModel):
    """A model to trace."""

    score: int = 0


@pytest.fixture
def telemetry():
    """Where spans and metrics of this test go, and a tracer for spans around them."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider([reader])
    stop = instrument(tracer_provider=tracers, meter_provider=meters)
    yield exporter, reader, tracers.get_tracer("test")
    stop()
    meters.shutdown()


async def test_spans(bound, telemetry):
    """A span for each operation, child of the caller's, as long as the call, with the conventions' names."""
    exporter, _, tracer = telemetry
    doc = Traced()
    with tracer.start_as_current_span("request") as request:
        await doc.save()
        async with doc.pipeline():
            doc.score += 1
            doc.score *= 2
    save, load, batch, outer = exporter.get_finished_spans()
    assert [span.name for span in (save, load, batch)] == [
        "document.save Traced",
        "document.load Traced",
        "batch.apply Traced",
    ]
    assert outer.context.span_id == request.get_span_context().span_id
    assert all(span.parent.span_id == outer.context.span_id for span in (save, load, batch))
    assert all(span.kind is SpanKind.CLIENT and span.status.status_code is StatusCode.UNSET for span in (save, batch))
    assert outer.start_time - 1_000_000 <= save.start_time < save.end_time <= load.end_time <= outer.end_time
    assert dict(save.attributes) == {
        "db.system.name": "redis",
        "db.operation.name": "document.save",
        "db.collection.name": "Traced",
    }
    assert batch.attributes["db.operation.batch.size"] == 2


async def test_tasks_have_their_own_spans(bound, telemetry):
    """Calls that share one write on the wire still belong to the requests that made them."""
    exporter, _, tracer = telemetry
    doc = await Traced().save()
    exporter.clear()

    async def request(number):
        with tracer.start_as_current_span(f"request {number}"):
            await doc.score.increase()

    await asyncio.gather(*map(request, range(5)))
    spans = exporter.get_finished_spans()
    outer = {span.context.span_id for span in spans if span.name.startswith("request")}
    assert {span.parent.span_id for span in spans if span.name == "number.increase Traced"} == outer
    assert len(outer) == 5


async def test_failures(bound, telemetry):
    """The span has an error status and the error's class, and nothing of the message."""
    exporter, _, _ = telemetry
    with pytest.raises(KeyNotFound):
        await Traced().score.increase()
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "KeyNotFound"
    assert span.events == ()


async def test_waiting_for_a_lock(bound, telemetry):
    """It is a span as long as the wait."""
    exporter, _, _ = telemetry
    doc = await Traced().save()
    exporter.clear()

    async def wait():
        async with Traced.lock_from_key(doc.key):
            pass

    async with doc.lock():
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.05)
    await waiting
    waits = [span for span in exporter.get_finished_spans() if span.name == "lock.enter Traced"]
    assert len(waits) == 2
    assert waits[1].end_time - waits[1].start_time >= 40_000_000


async def test_metrics(bound, telemetry):
    """One histogram of seconds, by operation, model and error."""
    _, reader, _ = telemetry
    doc = await Traced().save()
    for _ in range(3):
        await doc.score.increase()
    await doc.delete()
    with pytest.raises(KeyNotFound):
        await doc.load()
    (metric,) = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    assert (metric.name, metric.unit) == ("db.client.operation.duration", "s")
    points = {
        (point.attributes["db.operation.name"], point.attributes.get("error.type")): point
        for point in metric.data.data_points
    }
    assert {name: point.count for name, point in points.items()} == {
        ("document.save", None): 1,
        ("number.increase", None): 3,
        ("document.delete", None): 1,
        ("document.load", "KeyNotFound"): 1,
    }
    assert points["number.increase", None].explicit_bounds[0] == 0.0005
    assert 0 < points["number.increase", None].sum < 5
