"""The page of a report in a real browser: where its parts are, their colours, and that it fetches nothing."""

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from loader.reports.page.html import write_page
from tests.support.report_figures import make_figures

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.skipif(not (DRIVER and BROWSER), reason="chromium or its chromedriver is not installed"),
    pytest.mark.slow,
]

WIDE, NARROW = 1200, 390
#: Without these, the browser asks servers for updates, or needs rights that a container does not give.
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"
)
#: Colours of the page, a card, and what people did, in the light and the dark scheme.
COLOURS = {
    False: {
        "body": "#f6f5f1",
        ".card": "#ffffff",
        ".track .a": "#0e7568",
        ".models .l": "#cfe5e0",
        "rect.c": "#d98324",
    },
    True: {"body": "#121517", ".card": "#1c2124", ".track .a": "#3db5a3", ".models .l": "#2b4d49", "rect.c": "#e39a45"},
}
BOXES = """
    return [...document.querySelectorAll(arguments[0])].map(element => {
        const box = element.getBoundingClientRect()
        return [box.left, box.top + scrollY, box.right, box.bottom + scrollY].map(Math.round)
    })
"""
#: The contrast of every visible text with what is behind it, by WCAG 2.2, with the text.
CONTRASTS = """
    const parse = text => text.match(/[\\d.]+/g).map(Number)
    const luminance = ([r, g, b]) => {
        const linear = [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }
    const behind = element => {
        for (; element; element = element.parentElement) {
            const colour = parse(getComputedStyle(element).backgroundColor)
            if (colour.length < 4 || colour[3] > 0) return colour
        }
        return [255, 255, 255]
    }
    return [...document.querySelectorAll("body *")]
        .filter(element => element.checkVisibility() && element.getBoundingClientRect().height > 1)
        .filter(element => [...element.childNodes].some(node => node.nodeType == 3 && node.data.trim()))
        .filter(element => !element.closest("title") && parseFloat(getComputedStyle(element).fontSize) > 1)
        .map(element => {
            const style = getComputedStyle(element)
            const colour = parse(element.closest("svg") ? style.fill : style.color)
            const [low, high] = [luminance(colour), luminance(behind(element))].sort((one, other) => one - other)
            return [(high + 0.05) / (low + 0.05), element.textContent]
        })
"""
#: The colour of the screenshot in the middle of the first element of a selector.
PIXELS = """
    const [png, selectors, done] = arguments
    const image = new Image()
    image.onload = () => {
        const canvas = document.createElement("canvas")
        canvas.width = image.width
        canvas.height = image.height
        const context = canvas.getContext("2d")
        context.drawImage(image, 0, 0)
        done(Object.fromEntries(selectors.map(([selector, x, y]) => [
            selector, "#" + [...context.getImageData(x, y, 1, 1).data].slice(0, 3)
                .map(value => value.toString(16).padStart(2, "0")).join("")
        ])))
    }
    image.src = "data:image/png;base64," + png
"""
Show = Callable[..., Chrome]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(BROWSER)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    browser = Chrome(options, Service(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def show(browser: Chrome, tmp_path_factory: pytest.TempPathFactory) -> Show:
    """Show the page of a report at a width."""
    place = tmp_path_factory.mktemp("page") / "report.html"

    def show(width: int = WIDE, *, is_dark: bool = False, **changes: Any) -> Chrome:
        place.write_text(write_page(make_figures(**changes), "en_GB"), "utf-8")
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        size = {"width": width, "height": 2400, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(place.as_uri())
        return browser

    return show


def boxes(browser: Chrome, selector: str) -> list[tuple[int, ...]]:
    return [tuple(box) for box in browser.execute_script(BOXES, selector)]


def read_log(browser: Chrome, kind: str) -> list[dict[str, Any]]:
    return browser.get_log(kind)  # type: ignore[no-any-return, no-untyped-call]


def test_nothing_is_requested_and_nothing_fails(show: Show) -> None:
    browser = show()
    read_log(browser, "performance")
    browser.refresh()
    messages = [json.loads(entry["message"])["message"] for entry in read_log(browser, "performance")]
    requests = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert requests == [browser.current_url]
    assert browser.current_url.startswith("file:")
    assert read_log(browser, "browser") == []


def test_on_a_wide_page_the_cards_are_a_grid(show: Show) -> None:
    browser = show()
    cards = boxes(browser, ".card")
    assert [(left, right) for left, _, right, _ in cards] == [
        (64, 1136),
        (64, 1136),
        (64, 1136),
        (64, 501),
        (517, 1136),
        (64, 592),
        (608, 1136),
        (64, 501),
        (517, 1136),
    ]
    rows = [cards[0:1], cards[1:2], cards[2:3], cards[3:5], cards[5:7], cards[7:9]]
    assert all(len({(top, bottom) for _, top, _, bottom in row}) == 1 for row in rows)
    tops, bottoms = [row[0][1] for row in rows], [row[0][3] for row in rows]
    assert all(0 <= top - bottom - 16 <= 1 for top, bottom in zip(tops[1:], bottoms[:-1], strict=True))
    assert len({right - left for left, _, right, _ in boxes(browser, ".total")}) <= 2  # but for a rounded pixel
    assert len({top for _, top, _, _ in boxes(browser, ".total .value")}) == 1


def test_bars_stand_on_their_axis_and_have_their_heights(show: Show) -> None:
    browser = show()
    light, dark, orange = (boxes(browser, f".plot rect.{kind}") for kind in "lac")
    assert len(light) == 92
    assert len({bottom for *_, bottom in [*light, *dark, *orange]}) == 1
    days = make_figures()
    delivered = [days.days[day].delivered for day in sorted(days.days) if days.period.has(day)]
    heights = [bottom - top for _, top, _, bottom in light]
    scale = max(heights) / max(delivered)
    assert all(abs(height - scale * value) <= 1.5 for height, value in zip(heights, delivered, strict=True))
    lines = boxes(browser, ".plot line.grid")
    assert abs(lines[0][1] - light[0][3]) <= 1  # the line of 0
    assert lines[0][1] - lines[1][1] == lines[1][1] - lines[2][1]


def test_the_share_of_an_hour_is_its_colour(show: Show) -> None:
    hours = {(1, 0): 160, (1, 1): 80, (1, 2): 1}
    browser = show(hours=hours)
    shades = browser.execute_script(
        "return [...document.querySelectorAll('.heat td')].slice(0, 4)"
        ".map(cell => getComputedStyle(cell).backgroundColor)"
    )
    red = [int(re.findall(r"\d+", shade)[0]) for shade in shades]
    assert red == sorted(red)
    assert len(set(red)) == 4
    assert len(boxes(browser, ".heat tbody td")) == 7 * 24


@pytest.mark.parametrize("width", [NARROW, 820, WIDE])
def test_nothing_leaves_the_page_or_is_cut(show: Show, width: int) -> None:
    browser = show(width)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    for selector in ("h1", "h2", ".value", ".rows .n", ".models td", "svg.chart text"):
        found = boxes(browser, selector)
        assert found, selector
        assert all(0 <= left <= right <= width for left, _, right, _ in found), selector
    script = (
        "return [...document.querySelectorAll('.rows td, .value')].filter(e => e.scrollWidth > e.clientWidth).length"
    )
    assert browser.execute_script(script) == 0


def test_on_a_narrow_page_the_cards_follow_each_other(show: Show) -> None:
    cards = boxes(show(NARROW), ".card")
    assert {(left, right) for left, _, right, _ in cards} == {(12, NARROW - 12)}
    assert all(upper[3] <= lower[1] for upper, lower in pairwise(cards))


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_the_screenshot_has_the_colours_of_the_scheme(show: Show, *, is_dark: bool) -> None:
    browser = show(is_dark=is_dark)
    places = {}
    for selector in COLOURS[is_dark]:
        left, top, right, bottom = boxes(browser, selector)[0]
        places[selector] = ((left + right) // 2, (top + bottom) // 2)
    places["body"], places[".card"] = (5, 5), (boxes(browser, ".card")[0][0] + 8, boxes(browser, ".card")[0][1] + 8)
    png = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})["data"]
    found = browser.execute_async_script(PIXELS, png, [[name, *place] for name, place in places.items()])
    assert found == COLOURS[is_dark]


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_texts_have_the_contrast_of_level_aa(show: Show, width: int, *, is_dark: bool) -> None:
    found = show(width, is_dark=is_dark).execute_script(CONTRASTS)
    assert len(found) > 120
    assert [(text, round(ratio, 2)) for ratio, text in found if ratio < 4.5] == []


def test_a_chart_opens_its_table(show: Show) -> None:
    browser = show()
    is_visible = "return document.querySelector('details table').checkVisibility()"
    assert not browser.execute_script(is_visible)
    browser.execute_script("document.querySelector('summary').click()")
    assert browser.execute_script(is_visible)
    assert len(boxes(browser, "details[open] tbody tr")) == 92
    left, top, right, bottom = boxes(browser, "details[open] table")[0]
    assert (left, right) == (87, 1113)
    assert bottom - top > 1000


def test_without_styles_and_charts_the_figures_remain(show: Show) -> None:
    """Some mail clients remove both."""
    browser = show()
    browser.execute_script("document.querySelectorAll('style, svg').forEach(e => e.remove())")
    browser.execute_script("document.querySelectorAll('details').forEach(e => e.replaceWith(...e.childNodes))")
    text = browser.execute_script("return document.body.innerText")
    figures = make_figures()
    assert f"{figures.sum(figures.period).delivered:,}" in text
    assert "Mailbox providers" in text
    assert len(re.findall(r"^\d+ Nov\t", text, re.M)) == 30


def test_it_prints_on_two_pages(show: Show, tmp_path: Path) -> None:
    printed = show().execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})["data"]
    assert len(re.findall(rb"/Type /Page\b", base64.b64decode(printed))) == 2
