"""Opens the dashboard in Chromium and holds it against the API. Used by DashboardTests; see `main` for the arguments.

Lines on standard output that begin with `do ` ask the test for something; it answers by doing it. Ends with `passed`.
"""

import re
import sys
from importlib.resources import files

from dashboard_page import Dashboard, check_against_api, check_dropped, count, expect, rounded, wait
from playwright.sync_api import sync_playwright

# No task of the page may keep keys and pointer waiting for longer, in milliseconds.
LONGEST_TASK = 100


def check_keyboard(browser, base, run):
    """All that can be used is reached with Tab alone, and seen to be."""
    dashboard = Dashboard(browser, base)
    page = dashboard.page
    dashboard.open(run)
    dashboard.wait_for("#placement .caption", "Plan ")
    dashboard.settled()
    wanted = """
        [...document.querySelectorAll("a[href], button, select, input, summary, [tabindex='0']")]
            .filter(it => it.checkVisibility({visibilityProperty: true}))
    """
    number = page.evaluate(f"{wanted}.length")
    page.keyboard.press("Tab")
    expect(page.evaluate("document.activeElement.className"), "skip", "first with the keyboard")
    page.keyboard.press("Enter")
    expect(page.evaluate("document.activeElement.id"), "main", "after the skip link")
    page.evaluate("document.querySelector('.skip').focus(), window.reached = new Set([document.activeElement])")
    for _ in range(number + 5):
        page.keyboard.press("Tab")
        outline = page.evaluate("""() => {
            const it = document.activeElement;
            if (it !== document.body) reached.add(it);
            const style = getComputedStyle(it);
            return it === document.body || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2);
        }""")
        if not outline:
            raise AssertionError(f"no outline: {page.evaluate('document.activeElement.outerHTML.slice(0, 200)')}")
    missed = page.evaluate(f"{wanted}.filter(it => !reached.has(it)).map(it => it.outerHTML.slice(0, 120))")
    expect(missed, [], "out of the keyboard's reach")
    dashboard.context.close()


def check_focus(dashboard):
    """News leave the keyboard where it is."""
    link = "#run-list a[aria-current]"
    dashboard.page.focus(link)
    said = dashboard.page.inner_text(link)
    wait("news in the list of runs", lambda: dashboard.page.inner_text(link) != said)
    expect(dashboard.page.evaluate(f"document.activeElement === document.querySelector({link!r})"), True, "the keyboard's place")


def check_accessibility(dashboard, what):
    """The rules of axe (https://github.com/dequelabs/axe-core)."""
    dashboard.page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text())
    found = dashboard.page.evaluate("axe.run()")["violations"]
    problems = [f"{it['id']}: {node['html'][:160]}" for it in found for node in it["nodes"]]
    expect(problems, [], f"violations {what}")


def check_appearance(browser, base, run, token=None):
    """At both widths, in light and dark."""
    for width in (360, 1280):
        for scheme in ("light", "dark"):
            dashboard = Dashboard(browser, base, width, scheme, token)
            dashboard.open(run)
            dashboard.wait_for("#run-name", re.escape(run))
            dashboard.wait_for("#placement .caption", "Plan ")
            dashboard.settled()
            over = dashboard.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            expect(over, 0, f"pixels beyond the page's {width}")
            check_accessibility(dashboard, f"at {width} pixels, {scheme}")
            dashboard.check_quiet()
            dashboard.context.close()


def live(browser, base, run):
    """A run that goes on, falls silent, and whose coordinator goes and comes back."""
    dashboard = Dashboard(browser, base)
    dashboard.open()
    dashboard.wait_for("#run-name", re.escape(run))
    dashboard.wait_for("#connection", "^Live$")
    dashboard.page.evaluate("window.isSamePage = true")
    dashboard.wait_for("#verdict", r"plan \d+ at step")
    step = dashboard.figure("Step")
    wait("another step", lambda: dashboard.figure("Step") not in (step, "–"))
    check_focus(dashboard)
    hide_and_show(dashboard)
    print("do rest", flush=True)
    print("do kill the ranks", flush=True)
    dashboard.wait_for("#stale", "^Stale: no report for")
    # Nobody reports any more, so that from now on nothing depends on the time.
    dashboard.wait_for("#workers .caption", "^None of the 2 workers has reported for more than")
    check_against_api(dashboard, run)
    check_keyboard(browser, base, run)
    check_appearance(browser, base, run)
    dashboard.check_quiet()
    print("do kill the coordinator", flush=True)
    dashboard.wait_for("#connection", "^Disconnected from the coordinator since")
    print("do start the coordinator", flush=True)
    dashboard.wait_for("#connection", "^Live$")
    expect(dashboard.page.evaluate("window.isSamePage"), True, "the page without a reload")
    check_addresses(dashboard, run)


def hide_and_show(dashboard):
    """A page that nobody sees asks for nothing; seen again it goes on with what it has."""
    page = dashboard.page
    set_hidden = "it => {Object.defineProperty(document, 'hidden', {value: it, configurable: true}); document.dispatchEvent(new Event('visibilitychange'))}"
    page.evaluate(set_hidden, True)
    dashboard.settled()
    asked = []
    page.on("request", lambda it: asked.append(it.url))
    first = dashboard.api(f"runs/{dashboard.text('#run-name')}/intervals")["intervals"][-1]["number"]
    wait("news that the page does not see", lambda: dashboard.api(f"runs/{dashboard.text('#run-name')}/intervals")["intervals"][-1]["number"] > first)
    expect(asked, [], "requests of a page that is hidden")
    page.evaluate(set_hidden, False)
    dashboard.wait_for("#connection", "^Live$")
    step = dashboard.figure("Step")
    wait("another step", lambda: dashboard.figure("Step") != step)
    expect([it for it in asked if it.endswith("/intervals")], [], "requests for what the page has")


def check_addresses(dashboard, run):
    """Of runs that there are not."""
    for name, said in [("nobody", "nobody"), ("%", ".")]:
        dashboard.page.evaluate("it => { location.hash = `#/${it}`; }", name)
        dashboard.wait_for("#problem", re.escape(said))
    dashboard.page.evaluate("it => { location.hash = `#/${it}`; }", run)
    dashboard.wait_for("#run-name", re.escape(run))


def long(browser, base, run):
    """A run of many intervals."""
    dashboard = Dashboard(browser, base)
    dashboard.open(run)
    dashboard.wait_for("#training .value", "^0.0007$")
    watch_update(dashboard)
    rows = dashboard.api(f"runs/{run}/intervals?limit=1")["intervals"]
    dashboard.page.focus("#training .lines")
    dashboard.page.keyboard.press("End")
    said = dashboard.page.get_attribute("#training .lines", "aria-valuetext")
    for part in [f"Step {count(rows[0]['first_step'] + rows[0]['step_count'] - 1)}", f"loss {rounded(rows[0]['loss'], 4)}"]:
        if part not in said:
            raise AssertionError(f"no {part} in {said}")
    # It has all of them, not the newest alone.
    expect(dashboard.page.get_attribute("#training .lines", "aria-valuemax"), str(rows[0]["number"] - 1), "intervals")
    dashboard.check_quiet()


def watch_update(dashboard):
    """Asks for a report, and how long it keeps the page."""
    dashboard.settled()
    dashboard.page.evaluate("longTasks.length = 0")
    step = dashboard.figure("Step")
    print("do report", flush=True)
    wait("another step", lambda: dashboard.figure("Step") != step)
    dashboard.settled()
    longest = max(dashboard.page.evaluate("longTasks"), default=0)
    print(f"longest task: {longest:.0f} ms", flush=True)
    if longest > LONGEST_TASK:
        raise AssertionError(f"a task of the page took {longest} ms, more than {LONGEST_TASK}")


def large(browser, base, run):
    """A large run: what is drawn is less than there is, and quickly drawn."""
    dashboard = Dashboard(browser, base)
    dashboard.open(run)
    dashboard.wait_for("#placement .caption", "A row is several ranks")
    dashboard.wait_for("#phases .caption", "the slowest last")
    watch_update(dashboard)
    check_dropped(dashboard, run)
    page = dashboard.page
    page.focus("#placement .map")
    page.keyboard.press("Control+Home")
    page.keyboard.press("Enter")
    dashboard.wait_for("#placement button", "Back to all ranks")
    page.locator("#placement select").select_option("7")
    dashboard.wait_for("#placement .caption", "of layer 7")
    layer = dashboard.api(f"runs/{run}/placement?layer=7")["plan"]["layers"][0]
    expect(
        [row[3] for row in dashboard.rows("placement")],
        [" ".join(map(str, it["mesh"]["ranks"])) for it in layer["experts"]], "placement of a layer")
    check_appearance(browser, base, run)
    dashboard.check_quiet()


def last(browser, base, run):
    """A run at the last step that there can be."""
    dashboard = Dashboard(browser, base)
    dashboard.open(run)
    dashboard.wait_for("#training .value", r"^2\.5000$")
    expect(dashboard.figure("Step"), count(2 ** 53), "step")
    check_ticks(dashboard)
    dashboard.check_quiet()


def check_ticks(dashboard):
    """Few and different, whatever they are of; none where a step is lost beside the number."""
    for low, high, target, wanted in [
        (0, 10, 5, [0, 2, 4, 6, 8, 10]), (-0.1, 0.2, 3, [-0.1, 0, 0.1, 0.2]), (2 ** 53 - 20, 2 ** 53, 8, list(range(2 ** 53 - 20, 2 ** 53 + 1, 2))),
        (2 ** 53 - 1, 2 ** 53, 8, []), (1e17, 1e17, 8, []), (-1e17, 1 - 1e17, 8, []), (5, 1, 3, []), (-1e308, 1e308, 3, []),
    ]:
        found = dashboard.page.evaluate("async it => (await import('/dashboard/format.js')).ticks(...it)", [low, high, target])
        expect(found, wanted, f"ticks from {low} to {high}")


def token(browser, base, secret):
    """A coordinator with a token, and no run yet."""
    dashboard = Dashboard(browser, base, token=secret)
    dashboard.open()
    dashboard.wait_for("#token-form h1", "A token is needed")
    check_accessibility(dashboard, "where a token is asked for")
    dashboard.page.fill("#token", "no token – at all")
    dashboard.page.keyboard.press("Enter")
    dashboard.wait_for("#token-refused", "visible ASCII characters alone")
    dashboard.page.fill("#token", "another")
    dashboard.page.keyboard.press("Enter")
    dashboard.wait_for("#token-refused", "does not take this token")
    dashboard.page.fill("#token", secret)
    dashboard.page.keyboard.press("Enter")
    dashboard.wait_for("#nothing h1", "No runs yet")
    dashboard.wait_for("#connection", "^Live$")
    check_accessibility(dashboard, "without runs")
    kept = dashboard.page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]")
    expect(kept, [1, 0, ""], "what is kept")
    print("do register", flush=True)
    dashboard.wait_for("#stale", "^No reports yet")
    for section in ("training", "loads", "phases"):
        dashboard.wait_for(f"#{section}.empty h2", ".")
        expect(dashboard.page.locator(f"#{section} .chart").is_visible(), False, f"a chart of nothing in {section}")
    check_accessibility(dashboard, "without reports")
    # Chromium says on the console that two requests were refused.
    expect([it for it in dashboard.complaints if "401" not in it], [], "complaints")


def layers(browser, base, run):
    """Layers without experts, or whose experts had nothing to do; and a part of the page that fails."""
    dashboard = Dashboard(browser, base)
    page = dashboard.page
    # Before the page is opened first: it asks once for what it shows.
    page.route("**/timings", lambda route: route.fulfill(json={}))
    check_sleep(dashboard)
    dashboard.open(run)
    wait("what fails is told", lambda: page.evaluate("true") and any("TypeError" in it for it in dashboard.complaints))
    # The others are drawn nevertheless, and all of them again.
    dashboard.wait_for("#workers .caption", "^All 1 worker reported")
    dashboard.wait_for("#loads .caption", "busiest: expert 2 of layer 2, 2.25 ×")
    expect([it for it in dashboard.complaints if "TypeError" not in it], [], "other complaints")
    page.unroute("**/timings")
    step = dashboard.figure("Step")
    print("do report", flush=True)
    wait("another step", lambda: dashboard.figure("Step") != step)
    dashboard.wait_for("#phases .caption", "^Steps")
    dashboard.complaints.clear()
    expect([row[1:5] for row in dashboard.rows("loads")], [["–"] * 4, ["0", "0", "0", "0"], ["0", "0", "1", "2"]], "loads")
    page.focus("#loads .map")
    page.keyboard.press("Control+Home")
    expect(dashboard.text("#loads .readout"), "Layer 0 has no expert 0", "where no expert is")
    page.locator("#placement select").select_option("0")
    dashboard.wait_for("#placement .caption", "0 experts of layer 0")
    dashboard.wait_for("#loads .caption", "^Layer 0 over time")
    for section in ("loads", "placement"):
        page.locator(f"#{section} .map").hover()
        page.locator(f"#{section} .map").click()
        page.focus(f"#{section} .map")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.locator(f"#{section} .cell-cursor").is_visible(), False, f"a cursor at nothing in {section}")
    dashboard.check_quiet()


def check_sleep(dashboard):
    """Leaves nothing with the signal when it is over, and is over at once when the signal is."""
    dashboard.open()
    found = dashboard.page.evaluate("""async () => {
        const {sleep} = await import('/dashboard/feed.js');
        const isOver = await Promise.race([sleep(1e9, AbortSignal.abort()).then(() => true), sleep(5_000).then(() => false)]);
        const listeners = new Set();
        const signal = {
            aborted: false, addEventListener: (_, it) => listeners.add(it), removeEventListener: (_, it) => listeners.delete(it),
        };
        await sleep(1, signal);
        return [isOver, listeners.size];
    }""")
    expect(found, [True, 0], "whether it is over, and listeners")


def late(browser, base, run):
    """A rank sends late what it has kept."""
    dashboard = Dashboard(browser, base)
    dashboard.open(run)

    def ranks():
        return [row[-1] for row in dashboard.rows("training")]

    # The last interval may be half there, and is not shown.
    wait("intervals of one rank", lambda: ranks() == ["1"] * 7)
    print("do catch up", flush=True)
    wait("intervals of both ranks", lambda: ranks() == ["2"] * 8)
    dashboard.check_quiet()


def gone(browser, base, run):
    """A run that is not there yet, is, is deleted, and comes again."""
    dashboard = Dashboard(browser, base)
    is_unknown = f"run {re.escape(run)} is not known"

    def check_waiting():
        dashboard.wait_for("#connection", "^There is no such run: waiting for it$")
        dashboard.wait_for("#problem", is_unknown)

    def check_there(loss):
        dashboard.wait_for("#connection", "^Live$")
        dashboard.wait_for("#run-name", re.escape(run))
        wait(f"loss {loss}", lambda: dashboard.figure("Loss") == loss)
        expect(dashboard.page.locator("#problem").is_visible(), False, "a problem")

    dashboard.open(run)
    check_waiting()
    for loss in ("2.5000", "1.5000"):
        print(f"do train to {loss}", flush=True)
        check_there(loss)
        print("do delete", flush=True)
        check_waiting()
    # Chromium says on the console that requests were refused.
    expect([it for it in dashboard.complaints if "404" not in it], [], "complaints")


def main():
    what, base, name = sys.argv[1:]
    with sync_playwright() as playwright:
        # Debian's; its sandbox does not start for root.
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        parts = [live, long, large, last, token, layers, late, gone]
        {part.__name__: part for part in parts}[what](browser, base, name)
        browser.close()
    print("passed", flush=True)


if __name__ == "__main__":
    main()
