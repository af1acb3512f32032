"""Queues, settings, workers, and how it all is."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from queuectl.domain import settings as rules
from queuectl.domain.job import STATES
from queuectl.events.vocabulary import SettingChanged
from queuectl.jobqueue import Queue
from queuectl.queueview import QueueView
from queuectl.telling.documents import (
    event_document,
    queue_documents,
    settings_document,
    stats_document,
    worker_document,
)
from queuectl.view import View
from queuectl.web.access import ADMIN, OPERATOR
from queuectl.web.answers import answer
from queuectl.web.api import schemas
from queuectl.web.api.acting import OneBody
from queuectl.web.api.operation import AsOf, Body, Call, Operation, Query


class SettingBody(Body, frozen=True, kw_only=True):
    """A new value."""

    value: Annotated[
        str | int | float, msgspec.Meta(description="As in: queuectl config set KEY VALUE.")
    ]


async def status(call: Call[AsOf, None]) -> Response:
    """How the queue is, at a glance."""
    return answer(await call.served.read(_status, call.query.at))


def _status(view: View) -> dict[str, Any]:
    state = view.state
    return {
        "at": view.now(),
        "head": state.offset,
        "jobs": state.counts,
        "workers": _workers(view),
        "paused_queues": sorted(state.paused),
        "settings": settings_document(state.settings),
    }


def _workers(view: View) -> list[dict[str, Any]]:
    rows = view.state.workers.rows.values()
    return [worker_document(row, alive=view.is_alive(row.id)) for row in rows]


async def stats(call: Call[AsOf, None]) -> Response:
    """Totals since the log began."""

    def look(view: View) -> dict[str, Any]:
        state = view.state
        return stats_document(state.statistics, state.counts, view.now())

    return answer(await call.served.read(look, call.query.at))


async def workers(call: Call[AsOf, None]) -> Response:
    """Those that have started and not stopped, and which of them live."""
    return answer(await call.served.read(_workers, call.query.at))


async def stop_workers(call: Call[Query, Body]) -> Response:
    """They finish what they run."""

    def act(queue: Queue) -> list[str]:
        return [row.id for row in queue.stop_workers()]

    return answer({"ids": await call.served.write(call.visitor, act)})


async def queues(call: Call[AsOf, None]) -> Response:
    """With their jobs by state."""
    found = await call.served.read(lambda view: queue_documents(view.state), call.query.at)
    return answer(found)


async def pause(call: Call[Query, OneBody]) -> Response:
    """Those that run go on."""
    return await _set_paused(call, True)


async def resume(call: Call[Query, OneBody]) -> Response:
    """What waits may start."""
    return await _set_paused(call, False)


async def _set_paused(call: Call[Query, OneBody], paused: bool) -> Response:
    name = call.named("name")

    def act(queue: Queue) -> None:
        change = queue.pause if paused else queue.resume
        change(name, reason=call.body.reason)

    await call.served.write(call.visitor, act)
    return answer({"queue": name, "paused": paused})


async def settings(call: Call[AsOf, None]) -> Response:
    """As `config set` accepts them."""
    found = await call.served.read(
        lambda view: settings_document(view.state.settings), call.query.at
    )
    return answer(found)


async def settings_history(call: Call[Query, None]) -> Response:
    """Who set what, oldest first."""

    def look(view: QueueView) -> list[dict[str, Any]]:
        return [event_document(event) for event in view.log.read_kind(SettingChanged)]

    return answer(await call.served.search(look))


async def set_value(call: Call[Query, SettingBody]) -> Response:
    """It holds for jobs that are enqueued from then on."""
    key = call.named("key")

    def act(queue: Queue) -> dict[str, Any]:
        queue.set(key, str(call.body.value))
        setting = rules.find(key)
        now = queue.known.settings
        return {
            "key": setting.key,
            "value": settings_document(now)[setting.key],
            "effect": rules.effect(now, key),
        }

    return answer(await call.served.write(call.visitor, act))


_COUNTS = dict.fromkeys(STATES, schemas.WHOLE)
_VALUE = {"type": ["string", "number"]}
_SETTINGS = schemas.document(**{setting.key: _VALUE for setting in rules.SETTINGS})
_WORKERS = schemas.listed(schemas.ref("Worker"))
_PAUSED = schemas.document(queue=schemas.TEXT, paused=schemas.FLAG)
OPERATIONS = (
    Operation(
        "GET",
        "/status",
        status,
        "See jobs by state, workers and settings",
        schemas.document(
            at=schemas.TIME,
            head=schemas.WHOLE,
            jobs=schemas.ref("Counts"),
            workers=_WORKERS,
            paused_queues=schemas.listed(schemas.TEXT),
            settings=_SETTINGS,
        ),
        query=AsOf,
    ),
    Operation("GET", "/stats", stats, "See totals and times", schemas.ref("Stats"), query=AsOf),
    Operation("GET", "/workers", workers, "List workers", _WORKERS, query=AsOf),
    Operation(
        "POST",
        "/workers/stop",
        stop_workers,
        "Ask all workers to stop",
        schemas.document(ids=schemas.listed(schemas.TEXT)),
        role=OPERATOR,
        body=Body,
    ),
    Operation(
        "GET",
        "/queues",
        queues,
        "List queues",
        schemas.listed(schemas.document(queue=schemas.TEXT, paused=schemas.FLAG, **_COUNTS)),
        query=AsOf,
    ),
    Operation(
        "POST",
        "/queues/{name:path}/pause",
        pause,
        "Let no more jobs of a queue start",
        _PAUSED,
        role=OPERATOR,
        body=OneBody,
    ),
    Operation(
        "POST",
        "/queues/{name:path}/resume",
        resume,
        "Let jobs of a paused queue start again",
        _PAUSED,
        role=OPERATOR,
        body=OneBody,
    ),
    Operation("GET", "/settings", settings, "See all settings", _SETTINGS, query=AsOf),
    Operation(
        "GET",
        "/settings/history",
        settings_history,
        "See who changed settings",
        schemas.listed(schemas.ref("Event")),
    ),
    Operation(
        "PUT",
        "/settings/{key}",
        set_value,
        "Change a setting",
        schemas.document(key=schemas.TEXT, value=_VALUE, effect=schemas.TEXT),
        role=ADMIN,
        body=SettingBody,
    ),
)
