"""Pages for people: a module a view, each from the facade to plain data to a template."""

from __future__ import annotations

from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from queuectl.web.access import OPERATOR, SUBMITTER
from queuectl.web.pages import dead, diff, job, jobs, queues, settings, workers
from queuectl.web.pages.events import Events
from queuectl.web.pages.lately import Lately
from queuectl.web.pages.overview import Overview
from queuectl.web.pages.site import Site
from queuectl.web.served import Served


def routes(served: Served) -> list[BaseRoute]:
    """Every page, every form, and the files that pages are made with."""
    site, lately = Site(served), Lately()
    return [
        site.page("/", "overview.html", Overview(lately).present),
        site.page("/jobs", "jobs.html", jobs.present),
        site.page("/jobs/{id}", "job.html", job.present),
        site.page("/workers", "workers.html", workers.present),
        site.page("/dead", "dead.html", dead.present),
        site.page("/dead/{fingerprint}", "group.html", dead.present_group),
        site.page("/settings", "settings.html", settings.present),
        site.search("/events", "events.html", Events(lately).gather),
        site.search("/diff", "diff.html", diff.gather),
        site.action("/jobs", SUBMITTER, jobs.enqueue),
        site.action("/jobs/{id}/cancel", OPERATOR, job.cancel),
        site.action("/jobs/{id}/retry", OPERATOR, job.retry),
        site.action("/dead/retry", OPERATOR, dead.retry),
        site.action("/queues/pause", OPERATOR, queues.pause),
        site.action("/queues/resume", OPERATOR, queues.resume),
        job.output_route(served),
        Mount("/static", StaticFiles(packages=[("queuectl.web", "static")])),
    ]
