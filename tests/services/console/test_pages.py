"""The pages as a browser gets them: what they show, that they escape, and that they need no other host."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tests.services.console.scene import QA, REFUSED, RUN, RUNNING

PAGES = [
    "/",
    f"/models/{QA}/1.1.0",
    f"/models/{QA}/1.0.0",
    "/models/team-y.sorter.v0/4f1c2d3e4f1c",
    f"/runs/{RUN}",
    f"/runs/{RUNNING}",
    f"/runs/{REFUSED}",
    "/events",
    "/events?type=config-committed&order=oldest",
    "/events/of%20another%2Fsystem",
    "/docs",
]
VOID = {"meta", "link", "input", "img", "br", "hr", "line", "polyline"}


class Outline(HTMLParser):
    """Checks that tags close, and gathers addresses and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.faults: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_well_formed_and_its_own(client, path):
    answer = client.get(path)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = Outline(answer.text)
    assert (page.faults, page.open) == ([], [])
    assert not page.tags & {"script", "style", "iframe", "object"}
    names = {name for name, _ in page.attributes}
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]
    loaded = re.findall(r'<(?:link|img)[^>]+(?:href|src)="([^"]+)"', answer.text)
    assert loaded
    assert all(address.startswith("/") for address in loaded)


@pytest.mark.parametrize("path", PAGES)
def test_every_link_of_our_own_leads_somewhere(client, path):
    page = Outline(client.get(path).text)
    ids = {value for name, value in page.attributes if name == "id"}
    for name, address in page.attributes:
        if name == "href" and address.startswith("#"):
            assert address[1:] in ids
        elif name in ("href", "src") and address.startswith("/"):
            assert client.get(address).status in (200, 307), address


def test_the_overview_shows_what_happens(client):
    text = client.get("/").text
    assert '<progress max="48" value="21"' in text
    assert f"{QA}@1.2.0" in text
    assert "loss 0.6971" in text
    assert 'content="3"' in text
    assert "Reject: the repository &lt;is&gt; not connected" in text
    assert "training-progressed" not in text
    assert "<b>1</b><span>answering</span>" in text


def test_an_empty_forge_says_what_to_do(empty):
    _, client = empty
    text = client.get("/").text
    assert "kuznia new" in text
    assert "Nothing has been said yet" in text


def test_the_overview_goes_on_where_a_page_ends(empty):
    world, client = empty
    for number in range(201):
        world.model(f"team-x.m{number:03}.v1", "1.0.0", "r-1")
    first = client.get("/").text
    address = re.search(r'href="(/\?after=[^"]+)"', first).group(1)
    assert "team-x.m200.v1" not in first
    assert "team-x.m200.v1" in client.get(address).text


def test_a_model_s_address_leads_to_what_answers_else_to_the_newest(client):
    answer = client.get(f"/models/{QA}")
    assert (answer.status, answer.headers["location"]) == (307, f"/models/{QA}/1.1.0")
    newest = client.get("/models/team-y.sorter.v0").headers["location"]
    assert newest == "/models/team-y.sorter.v0/4f1c2d3e4f1c"
    assert client.get("/models/none").status == 404


def test_a_version_shows_its_card_safely(client):
    text = client.get(f"/models/{QA}/1.1.0").text
    assert "<td>A &amp; B</td>" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert 'href="javascript' not in text
    assert 'href="https://example.org/risk"' in text
    assert "pixel.png" not in text
    assert "license: apache-2.0" in text
    assert "90 % complete" in text
    assert "<strong>24 of 25</strong>" in text
    assert "altered" not in text


def test_an_altered_card_is_called_so(empty):
    world, client = empty
    world.model(QA, "1.0.0", "r-1")
    world.carry_to_deployed(QA, "1.0.0")
    world.files.content["cards/1.0.0/README.md"] += b"and harmless\n"
    assert "altered after it was registered" in client.get(f"/models/{QA}/1.0.0").text


@pytest.mark.parametrize("vanished", ["cards/1.0.0/README.md", "evaluations/1.0.0/report.md"])
def test_a_version_whose_document_vanished_still_has_its_page(empty, vanished):
    world, client = empty
    world.model(QA, "1.0.0", "r-1")
    world.carry_to_deployed(QA, "1.0.0")
    del world.files.content[vanished]
    answer = client.get(f"/models/{QA}/1.0.0")
    assert answer.status == 200
    assert f"{vanished} is registered, but it is not in the artifact store" in answer.text


def test_a_version_that_waits_for_a_person_says_so(client):
    assert "It waits for an approval" in client.get("/models/team-y.sorter.v0/4f1c2d3e4f1c").text
    assert "It waits for an approval" not in client.get(f"/models/{QA}/1.1.0").text


def test_a_run_under_way_refreshes_itself_and_draws_its_loss(client):
    text = client.get(f"/runs/{RUNNING}").text
    assert 'http-equiv="refresh"' in text
    points = re.search(r'points="([^"]+)"', text).group(1).split()
    assert len(points) == 21
    assert "warmup is longer" in text
    log = re.search(r'<pre class="log">(.*?)</pre>', text, re.DOTALL).group(1)
    assert log == "loading\n100%|##########\n&lt;b&gt;done&lt;/b&gt;\n"


def test_a_run_that_ended_stands_still(client):
    text = client.get(f"/runs/{RUN}").text
    assert "http-equiv" not in text
    assert "SUCCEEDED" in text


def test_a_refused_run_lists_its_faults(client):
    text = client.get(f"/runs/{REFUSED}").text
    assert "2 faults" in text
    assert "did you mean learning_rate?" in text


def test_the_form_of_the_events_keeps_what_was_asked(client):
    text = client.get("/events?type=config-committed&subject=&since=2026-11-02T09:00&order=newest").text
    assert "<option selected>config-committed</option>" in text
    assert 'value="2026-11-02T09:00"' in text
    assert text.count('">config-committed</a>') == 3


def test_the_next_page_of_events_asks_the_same(client):
    text = client.get("/events?limit=2&type=config-committed").text
    address = re.search(r'href="(/events\?[^"]*after=[^"]+)"', text).group(1).replace("&amp;", "&")
    assert "type=config-committed" in address
    assert "limit=2" in address
    assert client.get(address).text.count('">config-committed</a>') == 1


def test_a_wrong_filter_is_told(client):
    answer = client.get("/events?since=yesterday&colour=red", accept="text/html")
    assert answer.status == 400
    assert "query: since, colour" in answer.text


def test_an_event_links_its_cause_and_its_answers(client, world):
    registered = client.get("/api/v1/events?type=model-registered").json["items"][0]["event"]
    text = client.get(f"/events/{registered['id']}").text
    assert f'href="/events/{registered["cause"]}"' in text
    assert '">model-deployed</a>' in text
    odd = client.get("/events/of%20another%2Fsystem").text
    assert "&lt;script&gt;alert(3)&lt;/script&gt;" in odd


def test_assets_are_kept_for_good_under_a_name_that_changes_with_them(client):
    address = re.search(r'href="(/console\.css\?[0-9a-f]+)"', client.get("/").text).group(1)
    answer = client.get(address)
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    assert "url(" not in answer.text
