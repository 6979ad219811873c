"""How values read on a page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.console.pages.chart import MAX_POINTS, loss_chart
from services.console.pages.markdown import render, split_front_matter
from services.console.pages.words import (
    duration,
    event_name,
    number,
    page_of_subject,
    short,
    terminal,
    tone,
    when,
)
from services.console.schemas.runs import Loss


def test_moments_are_told_in_utc():
    assert (
        when(datetime(2026, 11, 2, 11, 0, tzinfo=timezone(timedelta(hours=2)))) == "2026-11-02 09:00:00 UTC"
    )
    assert when(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01 00:00:00 UTC"
    assert when(None) == "–"


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.1235"), (3.0, "3"), (1e-5, "1e-05"), (7, "7"), (None, "–"), ("x", "x")]
)
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (-1, "0 s"),
        (12.4, "12 s"),
        (59.7, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3720, "1 h 02 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_short_forms():
    assert short("sha256:" + "a" * 64) == "sha256:" + "a" * 12
    assert short("f" * 40, 8) == "f" * 8
    assert event_name("dev.kuznia.model-validated.v1") == "model-validated"
    assert event_name("org.example.thing") == "org.example.thing"


@pytest.mark.parametrize(
    ("status", "colour"),
    [("DEPLOYED", "good"), ("TRAINING", "busy"), ("FAILED", "bad"), ("DEPRECATED", "quiet")],
)
def test_tones(status, colour):
    assert tone(status) == colour


@pytest.mark.parametrize(
    ("subject", "page"),
    [
        ("runs/r-1", "/runs/r-1"),
        ("models/a.b.v1@1.0.0", "/models/a.b.v1/1.0.0"),
        ("evaluations/a.b.v1@1.0.0+x/y", "/models/a.b.v1/1.0.0%2Bx%2Fy"),
        ("releases/a.b.v1", "/models/a.b.v1"),
        ("branches/r/main", ""),
        ("models/half", ""),
        ("", ""),
    ],
)
def test_pages_of_subjects(subject, page):
    assert page_of_subject(subject) == page


def test_a_log_reads_as_a_terminal_would_leave_it():
    assert terminal("a\x1b[1;31mb\x1b[0m\r\n10%\r20%\r\nx\x00\ty\x1b]\n") == "ab\n20%\nx\ty\n"


def losses(count: int, value: float = 1.0) -> list[Loss]:
    return [Loss(step=step, loss=value) for step in range(count)]


def test_a_curve_needs_two_points_and_stays_inside_its_frame():
    assert loss_chart(losses(1)) is None
    chart = loss_chart([Loss(step=10, loss=2.0), Loss(step=30, loss=1.0)])
    assert chart.points == "8.0,8.0 632.0,152.0"
    assert (chart.lowest, chart.highest, chart.first_step, chart.last_step) == (1.0, 2.0, 10, 30)


def test_a_flat_curve_and_a_long_one():
    assert loss_chart(losses(2)).points == "8.0,80.0 632.0,80.0"
    points = loss_chart(losses(10_000)).points.split()
    assert len(points) <= MAX_POINTS + 1
    assert points[-1].startswith("632.0,")


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("<img src=x onerror=alert(1)>", "<img"),
        ("[x](javascript:alert(1))", "<a"),
        ("[x](data:text/html;base64,AAAA)", "<a"),
        ("![<b>](https://example.org/x.png)", "<img"),
        ("`<script>`", "<script"),
        ('<https://example.org/"onclick=x>', '"onclick'),
    ],
)
def test_markdown_of_others_lets_nothing_through(text, never):
    assert never not in render(text)


def test_front_matter():
    assert split_front_matter("---\na: 1\n---\n# x\n") == ("a: 1", "# x")
    assert split_front_matter("# x\n---\n") == ("", "# x\n---\n")
    assert split_front_matter("---\nnever closed") == ("", "---\nnever closed")
    assert split_front_matter("") == ("", "")
