"""OpenTelemetry spans and metrics for every operation; needs `pip install "rapyer[otel]"`.

Names follow OpenTelemetry's semantic conventions for databases. No stored value, key or argument is in them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from rapyer._observe import observe
from rapyer._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from rapyer._observe import Event

__all__ = ["instrument"]

#: Bounds in seconds, as the conventions ask for.
_BOUNDS = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


def instrument(
    *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> Callable[[], None]:
    """Make a span and a measurement of every operation from now on; returns what ends that.

    The span `list.extend User` is a child of the span the calling task is in, with `db.system.name`,
    `db.operation.name`, `db.collection.name`, `db.operation.batch.size` (from 2 on) and, after a failure,
    `error.type`. The histogram is `db.client.operation.duration`, in seconds, with the same attributes. Waiting for
    locks is in both, under the operation `lock.enter`.

    Args:
        tracer_provider: where spans go; None takes the global one.
        meter_provider: where measurements go; None takes the global one.

    Returns:
        a function that stops it.
    """
    tracer = trace.get_tracer("rapyer", __version__, tracer_provider)
    duration = metrics.get_meter("rapyer", __version__, meter_provider).create_histogram(
        "db.client.operation.duration",
        unit="s",
        description="Duration of database client operations.",
        explicit_bucket_boundaries_advisory=_BOUNDS,
    )

    def record(event: Event) -> None:
        attributes = _attributes(event)
        duration.record(event.seconds, attributes)
        end = time.time_ns()
        start = end - int(event.seconds * 1e9)
        span = tracer.start_span(
            f"{event.name} {event.prefix}", kind=SpanKind.CLIENT, attributes=attributes, start_time=start
        )
        if event.outcome != "ok":
            span.set_status(Status(StatusCode.ERROR, event.outcome))
        span.end(end)

    return observe(record)


def _attributes(event: Event) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "db.system.name": "redis",
        "db.operation.name": event.name,
        "db.collection.name": event.prefix,
    }
    if event.batch > 1:
        attributes["db.operation.batch.size"] = event.batch
    if event.outcome != "ok":
        attributes["error.type"] = event.outcome
    return attributes
