"""Every page for everybody: what axe checks, the keyboard, larger text, fewer colours, less motion.

The pages are those of recorded runs; the dashboard plays one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page, Route

from loadgen import format as fmt
from loadgen.compare import load
from loadgen.errors import ExitCode
from loadgen.results.schema.run import AgentResult
from loadgen.views.html import compare, find, matrix
from loadgen.views.html import run as html
from tests import matrices, samples, searches

from .axe import found_wrong
from .conftest import Tabs, scrolls_sideways, show, wait_until
from .test_dashboard import Stage, charts, looking, stage

__all__ = ["stage"]  # a fixture

#: 320 CSS pixels are 1,280 at 400 %, the narrowest that WCAG 1.4.10 asks for; 640 are 200 %.
WIDE, HALF, NARROW = 1280, 640, 320
SCHEMES: Final = ("light", "dark")
PAGES: Final = ("wall", "churn", "incomplete", "agents", "matrix", "matrix-costs", "search", "comparison")
#: What takes the focus, in the order of the document.
_FOCUSABLE: Final = """() => [...document.querySelectorAll("a[href], button, summary, input, [tabindex]")].filter(
    (element) => element.tabIndex >= 0 && element.checkVisibility({ visibilityProperty: true }))"""
_UNFOLD: Final = "() => document.querySelectorAll('details').forEach((part) => { part.open = true; })"
#: Two frames: what was changed is drawn.
_DRAWN: Final = "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"


def report(name: str, changes: samples.Changes = {}) -> str:  # noqa: B006  # never written to
    return html.render(samples.run(name), samples.summary(changes, name))


def of_agents() -> str:
    """A report of two hosts, of which one was lost."""
    whole = json.loads((samples.RUNS / "hold" / "summary.json").read_text())
    part = {key: whole[key] for key in AgentResult.__struct_fields__ if key in whole}
    lost = {"complete": False, "incomplete_because": "the connection to it was lost"}
    agents = [{**part, "name": name, "run": f"agents/{name}", **more} for name, more in (("a", {}), ("b", lost))]
    return report("hold", {"agents": agents})


def of_two_sides() -> str:
    given = load.read([str(samples.RUNS / "hold"), str(samples.RUNS / "wall")])
    series = {str(run.path): run.series for one in given for run in one.runs}
    return compare.page(load.compared(given, anyway=True), series)


MAKERS: Final[dict[str, Callable[[], str]]] = {
    "wall": lambda: report("wall"),
    "churn": lambda: report("churn"),
    "incomplete": lambda: report("killed-worker"),
    "agents": of_agents,
    "matrix": lambda: matrix.page(matrices.churning(), "name: m"),
    "matrix-costs": lambda: matrix.page(matrices.three({"outcomes.failed": 3}), "name: m"),
    "search": lambda: find.page(searches.reuse(), "name: s"),
    "comparison": of_two_sides,
}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one file for each kind of page."""
    place = tmp_path_factory.mktemp("site")
    for name, make in MAKERS.items():
        (place / f"{name}.html").write_text(make(), encoding="utf-8")
    return place


def played(stage: Stage, *, lines: int | None = None, name: str = "wall") -> None:
    """The dashboard has seen these lines of a recorded run, the first so many."""
    run = samples.run(name)
    for line in run.series[:lines]:
        stage.tell(lambda dashboard, line=line: dashboard.update(run.plan, line))  # type: ignore[misc]


def opening() -> int:
    """How many lines of the run that is played are of its ramp."""
    return sum(line.phase.value == "ramp" for line in samples.run("wall").series)


def live(tabs: Tabs, stage: Stage, **options: Any) -> Page:
    """The dashboard of a run that is holding its connections."""
    page = looking(tabs, stage.url, **{"viewport": {"width": WIDE, "height": 900}, **options})
    played(stage, lines=opening() + 1)
    wait_until(page, lambda: "errors" in charts(page) and page.inner_text("#phase") == "holding", "run on the page")
    return page


def over(tabs: Tabs, stage: Stage, changes: samples.Changes, code: ExitCode) -> Page:
    """The dashboard of a run that has ended like this."""
    page = live(tabs, stage)
    stage.tell(lambda dashboard: dashboard.notice("worker 1 is gone"))
    stage.tell(lambda dashboard: dashboard.over(Path("results/x"), samples.summary(changes, "wall"), code))
    wait_until(page, lambda: page.locator("#ending").is_visible(), "verdict")
    return page


def everywhere_well(page: Page) -> None:
    """Axe has nothing to say, in light and dark, on a wide and on a narrow screen."""
    for scheme in SCHEMES:
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        for width in (WIDE, NARROW):
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate(_DRAWN)
            assert found_wrong(page) == [], (scheme, width)


# --- axe -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_wrong_with_a_page(page: Page, site: Path, name: str) -> None:
    show(page, site / f"{name}.html")
    page.evaluate(_UNFOLD)
    everywhere_well(page)


def test_axe_finds_what_is_wrong(page: Page, site: Path) -> None:
    """So that silence means something."""
    show(page, site / "wall.html")
    page.evaluate(
        """() => {
            document.documentElement.removeAttribute("lang");
            document.querySelector("h1").style.color = "#ccc";
            document.querySelector("main").insertAdjacentHTML("beforeend", "<button></button>");
        }"""
    )
    page.emulate_media(color_scheme="light")
    found = found_wrong(page)
    for rule in ("html-has-lang", "color-contrast", "button-name"):
        assert any(line.startswith(f"violates {rule}: ") for line in found), (rule, found)


def test_axe_finds_nothing_wrong_with_a_run_on_its_way(tabs: Tabs, stage: Stage) -> None:
    page = looking(tabs, stage.url)
    everywhere_well(page)  # nothing to show yet
    page = live(tabs, stage)
    everywhere_well(page)
    page.click("#stop")
    everywhere_well(page)  # with the question open


@pytest.mark.parametrize(
    ("changes", "code"),
    [({}, ExitCode.FINE), ({"complete": False, "incomplete_because": "a worker died"}, ExitCode.INCOMPLETE)],
)
def test_axe_finds_nothing_wrong_with_the_end_of_a_run(
    tabs: Tabs, stage: Stage, changes: samples.Changes, code: ExitCode
) -> None:
    page = over(tabs, stage, changes, code)
    everywhere_well(page)
    stage.close()
    wait_until(page, lambda: "has ended" in page.inner_text("#link"), "end of the stream")
    everywhere_well(page)


# --- the keyboard --------------------------------------------------------------------------------------


def tabbed(page: Page, key: str = "Tab") -> list[int]:
    """The places in the order of the document that the key leads to, from the top of the page until it leaves the page.

    Each has to show that it has the focus. -1: something that is not in the list of what takes it.
    """
    count = page.evaluate(f"() => (window.places = ({_FOCUSABLE})()).length")
    found: list[int] = []
    for _ in range(count + 2):
        page.keyboard.press(key)
        place, ring, seen = page.evaluate(
            """() => {
                const one = document.activeElement, { outlineStyle, outlineWidth } = getComputedStyle(one);
                const box = one.getBoundingClientRect();
                return [one === document.body ? null : places.indexOf(one),
                        outlineStyle !== "none" && parseFloat(outlineWidth) >= 2,
                        box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth];
            }"""
        )
        if place is None:
            return found
        assert ring, f"no ring around {page.evaluate('() => document.activeElement.outerHTML.slice(0, 200)')}"
        assert seen, "what has the focus is on the screen"
        found.append(place)
    pytest.fail(f"the keyboard never leaves the page: {found}")


@pytest.mark.parametrize("name", PAGES)
def test_the_tab_key_leads_to_everything_in_order_and_out_again(page: Page, site: Path, name: str) -> None:
    show(page, site / f"{name}.html")
    page.evaluate(_UNFOLD)
    found = tabbed(page)
    assert found == list(range(len(found)))
    assert len(found) == page.evaluate("() => places.length")
    assert len(found) >= 2
    with_charts = page.locator("figure.chart:visible").count()
    assert page.evaluate("() => places.filter((place) => place.matches('.plot')).length") == with_charts


def test_the_tab_key_leads_through_the_dashboard(tabs: Tabs, stage: Stage) -> None:
    page = live(tabs, stage)
    found = tabbed(page)
    assert found == list(range(len(found)))
    named = page.evaluate("() => places.map((place) => place.id || place.className)")
    assert named[:3] == ["skip", "stop", "pause"]
    assert named[3] == "chart-connections"
    assert named[-1] == "notices"


@pytest.mark.parametrize(("name", "inside"), [("wall", "#run"), ("matrix", ".box"), ("comparison", "section")])
def test_the_first_link_skips_to_what_the_page_is_about(page: Page, site: Path, name: str, inside: str) -> None:
    show(page, site / f"{name}.html")
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    assert skip.evaluate("(link) => link === document.activeElement")
    box = skip.bounding_box()
    assert box is not None
    assert box["x"] >= 0, "seen while it has the focus"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("(inside) => document.activeElement.closest(inside) !== null", inside)


def test_rows_are_unfolded_by_enter_and_folded_by_space(page: Page, site: Path) -> None:
    show(page, site / "matrix.html")
    page.focus("summary")
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 1
    table = page.get_by_role("table", name="Figures of the charts")
    assert table.locator("tbody tr").count() == 4
    assert "predicted 100/s" in table.locator("tbody tr").nth(2).inner_text()
    page.keyboard.press(" ")
    assert page.locator("details[open]").count() == 0


def said(page: Page) -> str:
    """What a screen reader says of the chart that has the focus."""
    return str(page.evaluate("() => document.activeElement.getAttribute('aria-valuetext')"))


def payload(page: Page, chart: str) -> dict[str, Any]:
    """The data of a chart."""
    found: dict[str, Any] = page.evaluate(
        """(id) => JSON.parse(document.getElementById("report-data").textContent)
            .charts.find((one) => one.id === id)""",
        chart,
    )
    return found


def test_arrow_keys_read_every_value_of_a_chart(page: Page, site: Path) -> None:
    show(page, site / "wall.html")
    data = payload(page, "connections")
    labels = [series["label"] for series in data["series"]]
    page.keyboard.press("Tab")  # the focus is that of the keyboard, and shown
    page.focus("#chart-connections")
    page.keyboard.press("Home")
    for at, t_s in enumerate(data["x"]):
        values = [f"{label} {column[at]}" for label, column in zip(labels, data["y"], strict=True)]
        assert said(page) == f"at {trimmed(t_s)} s: " + "; ".join(values)
        assert page.get_attribute("#chart-connections", "aria-valuenow") == f"{100 * at / (len(data['x']) - 1):.1f}"
        legend = page.inner_text("#chart-connections .u-legend")
        assert f"at {trimmed(t_s)} s" in legend, "and who sees reads the same"
        page.keyboard.press("ArrowRight")
    last = said(page)
    page.keyboard.press("ArrowUp")
    assert said(page) == last, "there is nothing past the end"
    page.keyboard.press("PageDown")
    assert said(page) != last
    page.keyboard.press("End")
    assert said(page) == last
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "chart-rate", "no trap"


def trimmed(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def test_arrow_keys_read_every_cell_of_a_heat_map(page: Page, site: Path) -> None:
    show(page, site / "wall.html")
    data = payload(page, "latency-map-connect")
    rows, columns = len(data["cells"]), len(data["x"]) - 1
    page.focus("#chart-latency-map-connect")
    page.keyboard.press("Home")
    for _ in range(rows):
        page.keyboard.press("ArrowDown")
    read = []
    for _ in range(rows):
        page.keyboard.press("Home")
        for _ in range(columns):
            read.append(said(page))
            page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowUp")
    assert len(set(read)) == rows * columns
    number = [re.fullmatch(r".+ to .+: ([\d,]+|not measured) from .+ to .+", text) for text in read]
    assert all(number)
    told = [found[1].replace(",", "") for found in number if found]
    assert told == ["not measured" if v is None else str(v) for row in data["cells"] for v in row]
    assert page.inner_text("#chart-latency-map-connect .readout") == said(page)


def test_keys_zoom_all_charts_over_time_and_hide_lines(page: Page, site: Path) -> None:
    picture = """(id) => document.querySelector(`#chart-${id} canvas`).toDataURL()"""
    show(page, site / "wall.html")
    page.focus("#chart-connections")
    page.keyboard.press("Home")
    page.keyboard.press("PageUp")
    ids = ("connections", "rate", "percentiles", "occupancy")

    def pictures() -> list[str]:
        page.evaluate(_DRAWN)
        return [page.evaluate(picture, one) for one in ids]

    whole = pictures()
    page.keyboard.press("+")
    zoomed = pictures()
    changed = [one != other for one, other in zip(whole, zoomed, strict=True)]
    assert changed == [True, True, False, True], "the one by percentile is not over time"
    page.keyboard.press("End")
    end = said(page)
    page.keyboard.press("-")
    page.keyboard.press("-")
    assert pictures() == whole
    page.keyboard.press("End")
    assert said(page) != end, "what is out of sight is not read"
    page.keyboard.press("+")
    page.keyboard.press("0")
    assert pictures() == whole
    page.keyboard.press("2")
    assert "open hidden" in said(page)
    assert pictures()[0] != whole[0]
    page.keyboard.press("2")
    assert "hidden" not in said(page)
    assert pictures() == whole


def test_who_cannot_drag_zooms_with_buttons(page: Page, site: Path) -> None:
    show(page, site / "wall.html")
    figure = page.locator("figure", has=page.locator("#chart-rate"))
    picture = """() => document.querySelector("#chart-rate canvas").toDataURL()"""
    whole = page.evaluate(picture)
    for name, same in (("zoom in", False), ("show all", True), ("zoom in", False), ("zoom out", True)):
        figure.hover()
        figure.get_by_role("button", name=name).click()
        page.evaluate(_DRAWN)
        assert (page.evaluate(picture) == whole) is same, name


def test_the_run_is_stopped_with_the_keyboard_and_not_by_accident(tabs: Tabs, stage: Stage) -> None:
    page = live(tabs, stage)
    focused = "() => document.activeElement.id"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "stop"
    page.keyboard.press("Enter")
    assert page.get_by_role("dialog", name="Stop the run?").is_visible()
    assert page.evaluate(focused) == "asked-no", "the answer that changes nothing"
    for _ in range(4):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "() => document.activeElement === document.body || document.activeElement.closest('dialog')"
        )
    page.keyboard.press("Escape")
    assert page.evaluate(focused) == "stop"
    for _ in range(6):
        page.keyboard.press("Enter")  # a key that is held down
    assert not page.locator("dialog").is_visible()
    assert stage.interrupts == 0
    page.keyboard.press(" ")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "asked-yes"
    page.keyboard.press(" ")
    wait_until(page, lambda: page.inner_text("#stop") == "Stop at once", "second step")
    wait_until(page, lambda: page.get_attribute("#stop", "aria-disabled") == "false", "answer")
    assert stage.interrupts == 1
    assert page.evaluate(focused) == "stop", "the focus stays"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    # From then on nothing can be asked, whether the server has answered or not.
    wait_until(page, lambda: page.get_attribute("#stop", "aria-disabled") == "true", "end of pressing")
    page.keyboard.press("Enter")
    assert not page.locator("dialog").is_visible()
    wait_until(page, lambda: stage.interrupts == 2, "second interrupt")
    page.keyboard.press("Enter")
    assert not page.locator("dialog").is_visible()


def test_while_an_interrupt_is_under_way_nothing_is_asked(tabs: Tabs, stage: Stage) -> None:
    page = live(tabs, stage)
    held: list[Route] = []
    page.route("**/stop*", lambda route: held.append(route))
    page.click("#stop")
    page.click("#asked-yes")
    wait_until(page, lambda: bool(held), "request to stop")
    page.focus("#stop")
    page.keyboard.press("Enter")
    assert not page.locator("dialog").is_visible()
    held[0].continue_()
    wait_until(page, lambda: page.inner_text("#stop") == "Stop at once", "answer")
    assert stage.interrupts == 1


def test_a_question_that_is_opened_again_at_once_can_be_answered(tabs: Tabs, stage: Stage) -> None:
    page = live(tabs, stage)
    # In one task of the page: what the dialog says of its end arrives when it is open again.
    page.evaluate("""() => { for (const id of ["stop", "asked-no", "stop"]) document.getElementById(id).click(); }""")
    page.click("#asked-yes")
    wait_until(page, lambda: page.inner_text("#stop") == "Stop at once", "second step")
    assert stage.interrupts == 1


def test_a_question_that_another_answered_goes_away(tabs: Tabs, stage: Stage) -> None:
    page, other = live(tabs, stage), looking(tabs, stage.url)
    page.click("#stop")
    wait_until(other, lambda: other.inner_text("#phase") == "holding", "run on the other page")
    other.click("#stop")
    other.click("#asked-yes")
    wait_until(page, lambda: not page.locator("dialog").is_visible(), "end of the question")
    assert stage.interrupts == 1


# --- what goes on by itself ----------------------------------------------------------------------------


def test_the_page_stands_still_while_it_is_paused(tabs: Tabs, stage: Stage) -> None:
    page, other = looking(tabs, stage.url), looking(tabs, stage.url)
    played(stage, lines=2)
    wait_until(page, lambda: page.inner_text("#phase") == "opening", "first lines")
    wait_until(page, lambda: charts(page), "first charts")
    page.focus("#pause")
    page.keyboard.press(" ")
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    before = page.inner_text("main")
    played(stage, lines=opening() + 1)
    stage.tell(lambda dashboard: dashboard.notice("something"))
    wait_until(other, lambda: "something" in other.inner_text("#notices"), "frame with both, sent to both pages")
    page.evaluate(_DRAWN)
    assert page.inner_text("main") == before
    page.keyboard.press(" ")
    wait_until(page, lambda: page.inner_text("#phase") == "holding", "what was missed")
    assert "something" in page.inner_text("#notices")
    page.keyboard.press(" ")
    stage.tell(lambda dashboard: dashboard.over(Path("x"), samples.summary({}, "wall"), ExitCode.FINE))
    wait_until(page, lambda: page.locator("#ending").is_visible(), "verdict, paused or not")


def test_a_screen_reader_is_told_of_phases_and_events_and_not_of_every_second(tabs: Tabs, stage: Stage) -> None:
    page = looking(tabs, stage.url)
    played(stage, lines=1)
    wait_until(page, lambda: page.inner_text("#phase") == "opening", "first line")
    page.evaluate(
        """() => {
            window.told = [];
            const log = (changes) => changes.forEach(
                ({ target }) => told.push(target.closest?.("[role]").id || "notices"));
            const polite = [...document.querySelectorAll("[role=status], [role=log], [aria-live]")];
            for (const region of polite) new MutationObserver(log).observe(
                region, { childList: true, characterData: true, subtree: true });
            window.assertive = polite.filter((one) => one.getAttribute("aria-live") === "assertive").length;
        }"""
    )
    wait_until(page, lambda: charts(page), "first charts")
    page.focus("#chart-connections")
    page.evaluate(
        """() => new MutationObserver((changes) => changes.forEach(() => told.push("chart"))).observe(
            document.activeElement, { attributeFilter: ["aria-valuenow", "aria-valuetext", "aria-valuemax"] })"""
    )
    for lines in range(1, opening() + 1):
        played(stage, lines=lines)
        wait_until(page, lambda n=lines: page.inner_text("#time") == shown_time(n), "line")  # type: ignore[misc]
    assert page.evaluate("() => told") == []
    played(stage, lines=opening() + 1)
    wait_until(page, lambda: page.inner_text("#phase") == "holding", "hold")
    stage.tell(lambda dashboard: dashboard.notice("one"))
    wait_until(page, lambda: "one" in page.inner_text("#notices"), "event")
    stage.tell(lambda dashboard: dashboard.notice("two"))
    wait_until(page, lambda: "two" in page.inner_text("#notices"), "other event")
    assert page.evaluate("() => told") == ["phase", "notices", "notices"], "each event once"
    assert page.evaluate("() => assertive") == 0


def shown_time(lines: int) -> str:
    return fmt.seconds(samples.run("wall").series[lines - 1].t_s)


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_moves_for_those_who_asked_for_that(tabs: Tabs, stage: Stage, motion: Any) -> None:
    page = live(tabs, stage, reduced_motion=motion)
    page.click("#stop")
    assert page.evaluate("() => document.getAnimations().length") == 0
    slow = page.evaluate(
        """() => {
            document.querySelector("#stop").style.transition = "color 1s";
            return getComputedStyle(document.querySelector("#stop")).transitionDuration;
        }"""
    )
    assert (slow == "0s") == (motion == "reduce"), "nor would it if a style said so"


# --- larger text, fewer colours ------------------------------------------------------------------------

#: Texts of which something is out of their box, where it cannot be scrolled to; or out of the page.
_CUT_OFF: Final = """() => {
    const found = [], range = document.createRange();
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text; (text = walk.nextNode());) {
        const parent = text.parentElement;
        if (!text.data.trim() || parent.closest("script, style, noscript, .skip, .unseen, .names, .box, [hidden]")
            || !parent.checkVisibility({ visibilityProperty: true })) continue;
        range.selectNodeContents(text);
        for (const { left, right } of range.getClientRects()) {
            if (right - left > 2 && (left < -1 || right > innerWidth + 1)) found.push(text.data.trim().slice(0, 60));
        }
        for (let box = parent; box && box !== document.body; box = box.parentElement) {
            const style = getComputedStyle(box);
            if (style.overflowX === "hidden" && style.clipPath === "none" && box.scrollWidth > box.clientWidth + 1) {
                found.push("hidden: " + text.data.trim().slice(0, 60));
            }
        }
    }
    return found;
}"""
#: Texts that stand in each other's place, of those next to each other.
_TOUCHING: Final = """() => [...document.querySelectorAll("main svg[role=img]")].flatMap((svg) => {
    const texts = [...svg.querySelectorAll(":not(.names) > text")].map(
        (text) => [text.textContent, text.getBoundingClientRect()]);
    return texts.flatMap(([one, a], n) => texts.slice(n + 1).filter(([, b]) => a.left < b.right && b.left < a.right
        && a.top + 4 < b.bottom && b.top + 4 < a.bottom).map(([other]) => `${one} | ${other}`));
})"""


#: How large text is, of each of these that a page has; that of a chart of trials grows with the whole of it.
_SIZES: Final = """() => ["h1", "h2", "p", "th", "td", "text"].map((tag) => {
    const one = document.querySelector(`main ${tag}`), whole = one?.closest(".trials");
    const scale = whole ? whole.getBoundingClientRect().width / 900 : 1;
    return one ? scale * parseFloat(getComputedStyle(one).fontSize) : 0;
})"""


def enlarged(page: Page, percent: int) -> None:
    """Text alone, as by a setting of the browser: the page is loaded with it."""
    page.add_init_script(
        f"""new MutationObserver((_, seen) => {{
            if (!document.documentElement) return;
            document.documentElement.style.fontSize = "{percent}%";
            seen.disconnect();
        }}).observe(document, {{ childList: true }});"""
    )


def assert_it_fits(page: Page) -> None:
    page.evaluate(_DRAWN)
    assert not scrolls_sideways(page)
    assert page.evaluate(_CUT_OFF) == []
    for chart in page.locator("figure.chart .plot:visible").all():
        width, room = chart.evaluate(
            "(plot) => [plot.querySelector('.uplot').getBoundingClientRect().width, plot.clientWidth]"
        )
        assert width <= room + 1


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_at_twice_and_four_times_the_size(page: Page, site: Path, name: str) -> None:
    for width in (HALF, NARROW):
        page.set_viewport_size({"width": width, "height": 450})
        show(page, site / f"{name}.html")
        page.evaluate(_UNFOLD)
        assert_it_fits(page)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_with_text_of_twice_the_size(page: Page, site: Path, name: str) -> None:
    show(page, site / f"{name}.html")
    sizes = _SIZES
    before = page.evaluate(sizes)
    enlarged(page, 200)
    for width in (WIDE, HALF):
        page.set_viewport_size({"width": width, "height": 900})
        show(page, site / f"{name}.html")
        page.evaluate(_UNFOLD)
        assert_it_fits(page)
        assert page.evaluate(_TOUCHING) == []
    page.set_viewport_size({"width": WIDE, "height": 900})
    after = page.evaluate(sizes)
    for small, large in zip(before[1:], after[1:], strict=True):  # the largest of all may grow less
        assert large >= 1.55 * small


def test_the_dashboard_fits_at_twice_and_four_times_the_size(tabs: Tabs, stage: Stage) -> None:
    page = live(tabs, stage)
    for width in (HALF, NARROW):
        page.set_viewport_size({"width": width, "height": 450})
        assert_it_fits(page)
    page.click("#stop")
    for answer in ("#asked-no", "#asked-yes"):
        page.locator(answer).scroll_into_view_if_needed()
        box = page.locator(answer).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= NARROW
        assert box["height"] >= 24


def test_the_dashboard_fits_with_text_of_twice_the_size(tabs: Tabs, stage: Stage) -> None:
    played(stage, lines=opening() + 1)
    page = looking(tabs, stage.url, viewport={"width": WIDE, "height": 900})
    enlarged(page, 200)
    page.reload()
    wait_until(page, lambda: "errors" in charts(page) and page.inner_text("#phase") == "holding", "run on the page")
    assert_it_fits(page)


@pytest.mark.parametrize("name", ["wall", "matrix", "search"])
def test_a_page_fits_with_more_space_between_letters_words_and_lines(page: Page, site: Path, name: str) -> None:
    """WCAG 1.4.12: readers set that with style sheets of their own."""
    page.set_viewport_size({"width": NARROW, "height": 900})
    show(page, site / f"{name}.html")
    page.evaluate(
        """() => {
            const sheet = new CSSStyleSheet();
            sheet.replaceSync(`* { line-height: 1.5 !important; letter-spacing: 0.12em !important;
                                   word-spacing: 0.16em !important; }
                               p { margin-bottom: 2em !important; }`);
            document.adoptedStyleSheets.push(sheet);
        }"""
    )
    assert_it_fits(page)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_with_colours_forced_charts_and_states_are_still_there(page: Page, site: Path, scheme: Any) -> None:
    page.emulate_media(forced_colors="active", color_scheme=scheme)
    show(page, site / "wall.html")
    colours = """() => {
        const canvas = document.querySelector("#chart-connections canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const found = new Set();
        for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) found.add(data.slice(i, i + 3).join());
        return found.size;
    }"""
    assert page.evaluate(colours) >= 3, "lines, grid and text"
    border = page.evaluate("() => getComputedStyle(document.querySelector('.badge')).borderTopStyle")
    assert border == "solid"
    marks = page.evaluate(
        """() => [...document.querySelectorAll("#chart-connections .u-marker")].map(
            (one) => getComputedStyle(one).background)"""
    )
    assert len(set(marks)) == len(marks) >= 3, "each line has its mark"
    page.keyboard.press("Tab")
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert found_wrong(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_what_has_a_colour_has_a_word_as_well(page: Page, site: Path, name: str) -> None:
    """Good, bad and warning are never a colour alone: the element has a text or a number that says it."""
    show(page, site / f"{name}.html")
    toned = page.evaluate(
        """() => [...document.querySelectorAll("main .good, main .bad, main .warn")].map(
            (one) => one.textContent.trim())"""
    )
    assert all(toned)
