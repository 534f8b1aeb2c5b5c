"""The page in a browser: it shows the run, and what the user does changes the picture."""

import re
from pathlib import Path

import pytest
from mixed_ops import mixed_ops

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
N_OPS = 1500

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs /usr/bin/chromium"),
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def shown(browser, make_page):
    """A page with two policies; afterwards, the console and the network were left alone."""
    made = make_page(mixed_ops(N_OPS), "--policy", "glibc", "--policy", "first_fit")
    page = browser.new_page(viewport={"width": 1300, "height": 800}, color_scheme="light")
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(made.path.as_uri())
    page.wait_for_selector("body[data-ready]", timeout=20_000)
    page.made = made
    yield page
    assert complaints == []
    assert requests == [made.path.as_uri()]
    page.close()


def picture(page, layer=0):
    """What the canvases of one layer hold, once the next frames are drawn."""
    return page.evaluate(
        """layer => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() =>
        done([...document.querySelectorAll('.pane')].map(
            pane => pane.querySelectorAll('canvas')[layer].toDataURL()).join()))))""",
        layer,
    )


def changes(page, act, layer=0):
    before = picture(page, layer)
    act()
    return picture(page, layer) != before


def said(page):
    return page.inner_text("#said")


@pytest.mark.parametrize("number", [0, 1])
def test_the_browser_sums_blocks_and_pages_as_the_run_did(shown, number):
    live, resident = shown.evaluate(
        """number => { const map = panes[number].map, {op} = map.moments;
        const moments = [...op.keys()].slice(1);
        return [moments.map(i => map.liveAt(op[i] - 1)), moments.map(i => map.residentAt(i))]; }""",
        number,
    )
    assert live == shown.made.column(number, "moment_live_bytes")[1:].tolist()
    assert resident == shown.made.column(number, "moment_resident_bytes")[1:].tolist()


def test_the_slider_moves_all_maps_through_time(shown):
    assert changes(shown, lambda: shown.fill("#time", "700"), layer=1)
    assert re.findall(r"op ([\d,]+)", said(shown)) == ["700", "700"]


def test_the_keyboard_does_all(shown):
    shown.focus(".pane canvas:nth-child(2)")
    shown.fill("#time", "700")
    shown.focus(".pane canvas:nth-child(2)")
    for key, layer in (("ArrowRight", 1), ("+", 0), ("d", 0), ("w", 0), ("c", 0), ("t", 0)):
        assert changes(shown, lambda key=key: shown.keyboard.press(key), layer), key
    shown.keyboard.press(".")
    assert "op 716" in said(shown)
    shown.keyboard.press("ArrowUp")
    assert "object" in said(shown)
    assert changes(shown, lambda: shown.keyboard.press("0"))
    shown.keyboard.press("p")
    assert f"op {shown.made.maps[0]['peak_op']:,}" in said(shown)
    shown.keyboard.press("/")
    assert shown.evaluate("document.activeElement.id") == "wanted"


def test_the_wheel_zooms_and_dragging_pans(shown):
    shown.mouse.move(350, 300)
    assert changes(shown, lambda: shown.mouse.wheel(0, -600))
    shown.mouse.down()
    assert changes(shown, lambda: shown.mouse.move(250, 260))
    shown.mouse.up()


def test_hovering_tells_the_facts_of_a_block(shown):
    place = shown.evaluate(
        """() => { const pane = panes[0], {blocks} = pane.map, t = state.time;
        let i = [...blocks.place.keys()].filter(k => blocks.born[k] <= t && blocks.died[k] > t)
            .sort((a, b) => blocks.size[b] - blocks.size[a])[0];
        const bounds = pane.over.getBoundingClientRect();
        return {x: bounds.left + pane.x(t + 0.5), i, size: blocks.size[i], slot: blocks.slot[i],
            y: bounds.top + pane.y(blocks.place[i] + blocks.size[i] / 2)}; }"""
    )
    shown.mouse.move(place["x"], place["y"])
    tip = shown.inner_text("#tip")
    assert f"{place['size']:,} bytes" in tip
    assert f"object {place['slot']}, thread 0" in tip
    assert re.search(r"\nabove: .*\nbelow: .*\npage: ", tip)


def test_an_object_and_an_address_are_found(shown):
    shown.fill("#wanted", "7")
    assert changes(shown, lambda: shown.press("#wanted", "Enter"))
    assert "object 7," in said(shown)
    address = re.search(r"0x[0-9a-f]+", said(shown))[0]
    shown.fill("#wanted", address)
    shown.press("#wanted", "Enter")
    assert f"{address}," in said(shown)
    shown.fill("#wanted", "0x10")
    shown.press("#wanted", "Enter")
    assert said(shown) == "No map has the address 0x10."


def test_colours_and_themes_change_the_picture(shown):
    assert changes(shown, lambda: shown.select_option("#mode", "age"))
    assert "ops old" in shown.inner_text("#legend")
    assert changes(shown, lambda: shown.click("#theme"))
