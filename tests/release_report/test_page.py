"""The page in a real browser: wide and narrow, light and dark, printed, and cut off from all."""

import itertools
import json
from pathlib import Path

import pytest

from components.common import published_report
from tests.release_report.world import HOSTILE
from tests.serving.browser import chromium, save_picture

OUTCOME = "It is in production as version 7 & <b>pushed</b> by this run."


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def published(released, refused, waived, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("published")
    reports = {"released": released, "refused": refused, "waived": waived}
    for name, report in reports.items():
        published_report.publish(str(report), str(folder / name), OUTCOME)
    return {name: folder / name / "index.html" for name in reports}


@pytest.fixture
def open_page(browser, published):
    """Opens a page; fails for a request to anywhere, a dialog, or what a browser calls an error."""
    contexts, faults = [], []

    def open_page(name: str = "released", *, width: int = 1280, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        address = published[name].as_uri()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on(
            "request",
            lambda request: (
                None
                if request.url == address or request.url.startswith("data:")
                else faults.append(request.url)
            ),
        )
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("released", 1280, "light"),
        ("released", 390, "dark"),
        ("released", 320, "light"),
        ("refused", 1280, "dark"),
        ("refused", 390, "light"),
    ],
)
def test_nothing_is_wider_than_the_screen(open_page, name, width, scheme):
    page = open_page(name, width=width, scheme=scheme)
    save_picture(page, f"report-{name}-{width}-{scheme}")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("released", "musicnn may go into production: it passed all 7 gates, and is right on"),
        ("refused", "No model is released: musicnn, the best of 5 by validation, failed accuracy"),
        ("waived", "it passed all 6 gates that could be judged, with a waiver (production)"),
    ],
)
def test_the_verdict_and_the_outcome_come_first(open_page, name, sentence):
    page = open_page(name)
    assert sentence in page.locator("h1").inner_text()
    assert page.locator(".outcome").inner_text() == OUTCOME
    assert page.get_by_text("the old one knew <other> genres").count() == (name == "waived")


def test_before_it_is_published_no_outcome_is_claimed(browser, released):
    page = browser.new_page()
    page.goto((released / "index.html").as_uri())
    assert not page.locator(".outcome").is_visible()
    page.close()


def test_a_hostile_name_is_text(open_page):
    page = open_page()
    assert page.locator("img:not([src^='data:'])").count() == 0
    assert page.get_by_text(HOSTILE, exact=True).count() > 0


def test_pictures_tables_and_headings_are_there_for_those_who_do_not_see(open_page):
    page = open_page()
    without_text = page.evaluate(
        """() => [
          ...[...document.images].filter(image => !image.alt.trim()),
          ...[...document.querySelectorAll('svg')].filter(
            svg => !svg.getAttribute('aria-label') && svg.getAttribute('aria-hidden') != 'true'),
          ...[...document.querySelectorAll('audio')].filter(one => !one.ariaLabel),
          ...[...document.querySelectorAll('thead th')].filter(one => one.scope != 'col'),
        ].map(one => one.outerHTML.slice(0, 200))"""
    )
    assert without_text == []
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map(one => Number(one.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    targets = page.locator("nav a").evaluate_all("links => links.map(one => one.hash)")
    assert all(page.locator(target).count() == 1 for target in targets)


def test_pass_and_fail_differ_by_word_and_shape(open_page):
    page = open_page("refused")
    table = page.locator("table").first
    failed = table.locator(".mark.bad").first
    passed = table.locator(".mark.good").first
    assert (failed.inner_text(), passed.inner_text()) == ("failed", "passed")
    assert failed.locator("svg").inner_html() != passed.locator("svg").inner_html()


def test_text_is_readable_in_light_and_dark(open_page):
    contrast = """() => {
      const light = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(v => v / 255)
          .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const behind = one => {
        for (; one; one = one.parentElement) {
          const colour = getComputedStyle(one).backgroundColor;
          if (!/rgba\\(.*, 0\\)/.test(colour) && !/rgba/.test(colour)) return colour;
        }
        return 'rgb(255, 255, 255)';
      };
      return ['h1', 'p.faint', '.mark.good', '.mark.bad', '.note', 'thead th', 'td', '.figures dt']
        .map(name => document.querySelector(name))
        .map(one => [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a))
        .map(([bright, dark]) => (bright + 0.05) / (dark + 0.05));
    }"""
    for scheme in ("light", "dark"):
        page = open_page("refused", scheme=scheme)
        assert min(page.evaluate(contrast)) >= 4.5  # WCAG 2.2, level AA


def test_printed_it_is_dark_on_white_and_whole(open_page):
    page = open_page(width=720, scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    inside = page.locator("details table").first
    assert inside.bounding_box()["height"] > 0
    assert not page.locator("audio").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 720


def test_the_json_and_the_card_carry_the_outcome(published):
    folder = published["released"].parent
    assert json.loads((folder / "report.json").read_text())["outcome"] == OUTCOME
    card = (folder / "model_card.md").read_text()
    assert card.startswith("---\n")
    assert "> It is in production as version 7 &amp; &lt;b&gt;pushed&lt;/b&gt; by this run." in card
