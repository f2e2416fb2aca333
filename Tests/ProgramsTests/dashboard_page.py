"""The dashboard in Chromium, what people read on it, and whether that is what the API tells. See `dashboard.py`."""

import json
import re
import time
import urllib.request
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

PATIENCE = 60
NARROW_SPACE = "\u202f"
WATCH_TASKS = """
    window.longTasks = [];
    new PerformanceObserver(list => longTasks.push(...list.getEntries().map(entry => entry.duration)))
        .observe({type: "longtask", buffered: true});
"""


# What people read, worked out from the API's numbers anew.


def rounded(value, digits):
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def three(value):
    number = Decimal(value)
    if number == 0:
        return "0"
    text = format(number.quantize(Decimal(1).scaleb(number.adjusted() - 2), ROUND_HALF_UP), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(value):
    return f"{int(rounded(value, 0)):,}"


def ratio(value):
    return "–" if value is None else rounded(value, 3)


def short(value):
    for unit, size in [("G", 1e9), ("M", 1e6), ("k", 1e3)]:
        if value >= size * 0.9995:
            return f"{three(value / size)} {unit}"
    return three(value)


def seconds(value):
    # Multiplied, as the page does it: a division may round to the other side.
    for unit, factor in [("s", 1), ("ms", 1e3)]:
        if value >= 0.9995 / factor:
            return f"{three(value * factor)} {unit}"
    return f"{three(value * 1e6)} µs" if value else "0 s"


def size(value):
    unit = 0
    while value >= 1024:
        value, unit = value / 1024, unit + 1
    return f"{rounded(value, 1) if unit else count(value)} {['B', 'KiB', 'MiB', 'GiB'][unit]}"


def day_and_time(stamp):
    time_of = datetime.fromisoformat(stamp.replace("Z", "+00:00")).astimezone()
    return time_of.strftime("%H:%M:%S" if time_of.date() == datetime.now().date() else "%Y-%m-%d %H:%M:%S")


def plain(text):
    return re.sub(r"\s+", " ", text.replace(NARROW_SPACE, " ")).strip()


def expect(actual, wanted, what):
    if isinstance(actual, list) and isinstance(wanted, list) and len(actual) == len(wanted):
        for index, pair in enumerate(zip(actual, wanted)):
            expect(*pair, f"{what}, number {index}")
    elif actual != wanted:
        raise AssertionError(f"{what}: the page has {actual!r}, the API {wanted!r}")


def wait(what, is_met):
    end = time.monotonic() + PATIENCE
    while not is_met():
        if time.monotonic() > end:
            raise AssertionError(f"never: {what}")
        time.sleep(0.1)


class Dashboard:
    """A page, its complaints, and the API behind it."""

    def __init__(self, browser, base, width=1280, scheme="light", token=None):
        self.base, self.token = base, token
        self.context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce")
        self.page = self.context.new_page()
        self.page.add_init_script(WATCH_TASKS)
        self.complaints = []
        self.page.on("console", lambda it: it.type in ("error", "warning") and self.complaints.append(it.text))
        self.page.on("pageerror", lambda it: self.complaints.append(str(it)))
        self.page.on("request", lambda it: it.url.startswith(base) or self.complaints.append(f"asked for {it.url}"))

    def open(self, run=None):
        self.page.goto(self.base + "/" + (f"#/{run}" if run else ""))

    def api(self, path):
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        with urllib.request.urlopen(urllib.request.Request(f"{self.base}/api/v1/{path}", headers=headers)) as answer:
            return json.load(answer)

    def text(self, selector):
        return plain(self.page.locator(selector).first.text_content() or "")

    def shows(self, selector, pattern):
        return self.page.locator(selector).first.is_visible() and re.search(pattern, self.text(selector)) is not None

    def wait_for(self, selector, pattern):
        wait(f"{pattern} in {selector}, which has {self.text(selector)!r}", lambda: self.shows(selector, pattern))

    def figure(self, name):
        return self.text(f"#glance dl > div:has(dt:text-is('{name}')) .figure")

    def rows(self, section):
        """The cells of a section's table, opened if need be and with all its rows."""
        details = self.page.locator(f"#{section} details.table")
        if details.count() and details.get_attribute("open") is None:
            details.locator("summary").click()
            self.page.locator(f"#{section} .scroll tbody tr").first.wait_for()
        more = self.page.locator(f"#{section} .scroll > button")
        while more.is_visible():
            more.click()
        cells = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        found = self.page.locator(f"#{section} .scroll tbody tr").evaluate_all(cells)
        return [[plain(cell) for cell in row] for row in found]

    def titles(self, section):
        return [plain(it) for it in self.page.locator(f"#{section} thead th").all_text_contents()]

    def settled(self):
        """Waits until nothing is drawn any more."""
        self.page.wait_for_load_state("load")
        self.page.wait_for_function("new Promise(done => requestAnimationFrame(() => setTimeout(() => done(true), 300)))")

    def check_quiet(self):
        expect(self.complaints, [], "complaints")


def check_against_api(dashboard, run):
    """Of a run in which nothing happens any more: what did while page and API were read is waited for, and both are read again."""
    def state():
        return [dashboard.api(f"runs/{run}{part}") for part in ("", "/plans", "/workers", "/events", "/intervals?limit=3")]

    for _ in range(5):
        dashboard.settled()
        before = state()
        try:
            return compare_with_api(dashboard, run)
        except AssertionError:
            if state() == before:
                raise
    raise AssertionError("the run does not come to rest")


def all_intervals(dashboard, path):
    """An answer has no more than 500, which a run comes to within half a minute."""
    found, is_truncated = [], True
    while is_truncated:
        answer = dashboard.api(f"{path}/intervals?after={found[-1]['number'] if found else 0}&limit=500")
        found += answer["intervals"]
        is_truncated = answer["truncated"]
    return found


def compare_with_api(dashboard, run):
    path = f"runs/{run}"
    summary = dashboard.api(path)["summary"]
    intervals = all_intervals(dashboard, path)
    plans = dashboard.api(f"{path}/plans")["plans"]
    if intervals[-1]["ranks"] < summary["world_size"]:
        # The page waits for the others.
        intervals.pop()
    newest = intervals[-1]
    expect(dashboard.text("#run-name"), run, "name")
    for part in [summary["state"], f"{summary['world_size']} ranks", summary["allocator"], f"plan {summary['plan_revision']}"]:
        if part not in dashboard.text("#run-facts"):
            raise AssertionError(f"no {part} in {dashboard.text('#run-facts')}")
    expect(dashboard.text("#run-list a[aria-current] b"), run, "the run in the list")
    expect(dashboard.figure("Loss"), rounded(summary["loss"], 4), "loss")
    expect(dashboard.figure("Step"), count(summary["step"]), "step")
    expect(dashboard.figure("Tokens a second"), short(newest["tokens_per_second"]), "tokens a second")
    balances = [interval["balance"] for interval in intervals if "balance" in interval]
    expect(dashboard.figure("Balance"), ratio(balances[-1]), "balance")
    expect(dashboard.figure("Sent a step"), size(newest["bytes_sent"] / newest["step_count"]), "bytes")

    def last(interval):
        return interval["first_step"] + interval["step_count"] - 1

    expect(
        [[row[0], row[3], row[4], row[5], row[6], row[-1]] for row in dashboard.rows("training")],
        [
            [
                f"{count(it['first_step'])}–{count(last(it))}", rounded(it["loss"], 4) if "loss" in it else "–",
                seconds(it["step_seconds"]), short(it["tokens_per_second"]), ratio(it.get("balance")), str(it["ranks"]),
            ] for it in reversed(intervals)
        ], "intervals")

    loads = dashboard.api(f"{path}/loads?limit=1")["loads"][-1]
    steps = loads["step_count"]
    expect(
        [row[:5] for row in dashboard.rows("loads")],
        [
            [
                str(layer), count(min(own) / steps), count(sum(own) / len(own) / steps), count(max(own) / steps),
                str(own.index(max(own))),
            ] for layer, own in enumerate(loads["expert_loads"])
        ], "loads")

    # No expert of this run has a capacity.
    expect([dashboard.titles(it)[-1] for it in ("training", "loads")], ["Ranks", "Mean / largest"], "last columns")

    placement = dashboard.api(f"{path}/placement")["plan"]
    expect(
        [row[:4] for row in dashboard.rows("placement")],
        [
            [
                str(layer), str(expert), f"{mesh['data_parallel']} × {mesh['tensor_parallel']}",
                " ".join(map(str, mesh["ranks"])),
            ]
            for layer, own in enumerate(placement["layers"])
            for expert, mesh in enumerate(it["mesh"] for it in own["experts"])
        ], "placement")

    timings = dashboard.api(f"{path}/timings")
    rows = dashboard.rows("phases")
    titles = dashboard.titles("phases")
    expect(set(titles), {"Rank", "Step", "rest", *timings["phases"]}, "names of phases")
    expect(
        [row[:2] + [row[titles.index(name)] for name in timings["phases"]] for row in rows],
        [
            [str(it["rank"]), seconds(it["step_seconds"]), *map(seconds, it["seconds"])]
            for it in sorted(timings["ranks"], key=lambda it: it["rank"])
        ], "phases")

    def before_and_after(plan, what):
        return f"{ratio(plan[what]['balance_before'])} → {ratio(plan[what]['balance_after'])}" if what in plan else "–"

    expect(
        [row[:5] for row in dashboard.rows("plans")],
        [
            [
                str(it["revision"]), it["state"], count(it["accepted_step"]) if it.get("accepted_step") else "–",
                before_and_after(it, "prediction"), before_and_after(it, "observation"),
            ] for it in plans
        ], "plans")
    switched = [
        it for it in plans if it.get("accepted_step") and it["state"] in ("active", "superseded", "applying")
        and intervals[0]["first_step"] <= it["accepted_step"] <= last(newest)
    ]
    marks = dashboard.page.locator("#training svg").last.locator("line.plan").count()
    expect(marks, len(switched), "marks of plans")
    replaced = max((it for it in switched if "activated_at" in it), key=lambda it: it["activated_at"])
    verdict = dashboard.text("#verdict")
    for part in [f"plan {replaced['revision']} at step {count(replaced['accepted_step'])}", size(replaced["bytes"]), seconds(replaced["seconds"])]:
        if part not in verdict:
            raise AssertionError(f"no {part} in {verdict}")
    if "observation" in replaced and ("Paid off" in verdict or "pays off" in verdict) != (
            replaced["observation"]["seconds_before"] > replaced["observation"]["seconds_after"]):
        raise AssertionError(f"{verdict}, but it was {replaced['observation']}")

    expect(
        [row[:5] for row in dashboard.rows("workers")],
        [
            [str(it["rank"]), it["host"], str(it["process_id"]), day_and_time(it["reported_at"]) + " late", count(it["step"])]
            for it in dashboard.api(f"{path}/workers")["workers"]
        ], "workers")

    more = dashboard.page.locator("#events button")
    while more.is_visible():
        more.click()
        dashboard.settled()
    expect(
        [plain(it) for it in dashboard.page.locator("#events li b").all_text_contents()],
        [
            re.sub("^plan_", f"plan {it.get('revision')} ", it["kind"]).replace("_", " ")
            for it in reversed(dashboard.api(f"{path}/events?after=0")["events"])
        ], "events")
    check_maps(dashboard, loads, placement)


def check_dropped(dashboard, run):
    """What experts with a capacity drop, in all and by layer."""
    intervals = dashboard.api(f"runs/{run}/intervals")["intervals"]
    loads = dashboard.api(f"runs/{run}/loads?limit=1")["loads"][-1]
    layers = [
        dropped / (dropped + sum(own)) for dropped, own in zip(loads["dropped_tokens"], loads["expert_loads"], strict=True)
    ]
    all_layers = sum(loads["dropped_tokens"]) / (sum(loads["dropped_tokens"]) + sum(map(sum, loads["expert_loads"])))
    expect(intervals[-1]["dropped_share"], all_layers, "share of the newest interval")

    def tenths(share):
        return f"{rounded(share * 100, 1)} %"

    expect([row[-1] for row in dashboard.rows("training")], [tenths(it["dropped_share"]) for it in reversed(intervals)], "dropped")
    expect([row[-1] for row in dashboard.rows("loads")], [tenths(it) for it in layers], "dropped by layer")
    expect([dashboard.titles(it)[-1] for it in ("training", "loads")], ["Dropped", "Dropped"], "last columns")
    if f"{tenths(all_layers)} of the (token, expert) pairs of steps" not in dashboard.text("#loads .caption"):
        raise AssertionError(f"not {all_layers}: {dashboard.text('#loads .caption')}")


def check_maps(dashboard, loads, placement):
    """With the keyboard: what is said of a cell."""
    page = dashboard.page
    steps = loads["step_count"]
    page.focus("#loads .map")
    page.keyboard.press("Control+Home")
    page.keyboard.press("ArrowRight")
    own = loads["expert_loads"][0]
    said = dashboard.text("#loads .readout")
    for part in ["Layer 0, expert 1", f"{rounded(own[1] / (sum(own) / len(own)), 2)} ×", f"{count(own[1] / steps)} rows a step"]:
        if part not in said:
            raise AssertionError(f"no {part} in {said}")
    page.focus("#placement .map")
    page.keyboard.press("Control+Home")
    mesh = placement["layers"][0]["experts"][0]["mesh"]
    for rank in range(placement["world_size"]):
        said = dashboard.text("#placement .readout")
        if f"Layer 0, expert 0, rank {rank}" not in said or ("not here" in said) == (rank in mesh["ranks"]):
            raise AssertionError(f"{said}, but it is on {mesh['ranks']}")
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
