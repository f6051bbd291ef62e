"""The instrument in a browser: one scrubber moves everything, fast, by keyboard and from an address."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pages.shared.player.story import story_of
from pages.shared.runs.choice import recorded_runs
from panda_core.figures import curve_of
from panda_core.methods.alarm import fired, readings
from panda_core.records import read_arrays, write_arrays
from panda_core.runs.folder import RunFolder
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.recorded import unpacked

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
RUN = "run=break-digits-9"


def recorded(run_id: str) -> RunFolder:
    return RunFolder.open(run_id, recorded_runs())


MEASURED = LoadedRun(recorded("break-digits-9")).evaluated
STEPS = [event.step for event in MEASURED]
STORY = story_of(curve_of(MEASURED), readings(MEASURED))
# What is seen at a moment, of every panel.
SEEN = """(machine) => ({
    step: machine.querySelector('.step').textContent,
    now: machine.querySelector('.now').textContent,
    cloud: machine.querySelector('.cloud').toDataURL(),
    marker: machine.querySelector('.auroc .here').getAttribute('x1'),
    meters: machine.querySelector('.meters .here').getAttribute('x1'),
    histogram: machine.querySelector('.histogram').innerHTML,
    spectrum: machine.querySelector('.spectrum').innerHTML,
    ranking: machine.querySelector('.ranking').getAttribute('aria-label'),
})"""

# The share of the drawing's height over which anomalies are spread, by their colour.
INKED = """(canvas) => {
    const { data, width, height } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const rows = [];
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
        const [r, g, b, a] = data.subarray(4 * (y * width + x), 4 * (y * width + x) + 4);
        if (a > 100 && r > 150 && g < 140 && b < 90) rows.push(y);
    }
    return rows.length ? (rows.at(-1) - rows[0]) / height : 0;
}"""


# How many upright marks, as that of the alarm, cross the name of the level line.
MARKS_THROUGH_THE_LEVEL = """(machine) => {
    const name = machine.querySelector('.auroc .named-level').getBoundingClientRect();
    const marks = [...machine.querySelectorAll('.auroc .mark')].map((mark) => mark.getBoundingClientRect().x);
    return marks.filter((x) => x > name.left && x < name.right).length;
}"""


def open_machine(shared_server: Any, visit: Any, address: str) -> tuple[Any, Any]:
    """Return a visit and the time machine on its page, standing still."""
    seen = visit(reduced_motion="reduce")
    seen.page.goto(f"{shared_server.url}/{address}")
    machine = seen.page.locator(".machine").first
    machine.locator(".step").filter(has_text="step").wait_for(timeout=60_000)
    return seen, machine


def test_one_scrubber_moves_every_panel_without_the_server(shared_server: Any, visit: Any) -> None:
    """Guards against a panel that stays behind, and a scrub that asks the server."""
    seen, machine = open_machine(shared_server, visit, f"instrument?{RUN}")
    seen.settle()  # what the page still loads is not asked for by the scrubber
    asked: list[str] = []
    seen.page.on("request", lambda request: asked.append(request.url))
    scrub = machine.get_by_label("Position in the run")
    scrub.fill("0")
    first = machine.evaluate(SEEN)
    scrub.fill("9")
    later = machine.evaluate(SEEN)
    assert first["step"] == "step 0" and later["step"] == f"step {STEPS[9]}"
    assert [name for name in first if first[name] == later[name]] == []
    scrub.fill("0")
    assert machine.evaluate(SEEN) == first  # nothing is left of the way there and back
    assert asked == []
    assert "at=0" in seen.page.url
    seen.check()


def test_the_heatmap_follows_the_scrubber_and_the_chosen_image(shared_server: Any, visit: Any) -> None:
    """Guards the map over one image: it is that of the step and of the image, and a keyboard is enough to choose."""
    seen, machine = open_machine(shared_server, visit, "instrument?run=break-elpv-mono")
    assert machine.evaluate(MARKS_THROUGH_THE_LEVEL) == 0
    canvas, images = machine.locator("canvas.heat"), machine.locator(".ranking button")
    chosen = machine.locator('.ranking button[aria-pressed="true"]')
    assert (images.count(), chosen.count()) == (12, 1)
    pictures = []
    measured = [event.step for event in LoadedRun(recorded("break-elpv-mono")).evaluated]
    last = str(len(measured) - 1)
    for place, image in (("0", None), (last, None), (last, 2), ("0", 2)):
        machine.get_by_label("Position in the run").fill(place)
        if image is not None:
            images.nth(image).focus()
            seen.page.keyboard.press("Enter")
            assert images.nth(image).get_attribute("aria-pressed") == "true" and chosen.count() == 1
        pictures.append((canvas.evaluate("canvas => canvas.toDataURL()"), canvas.get_attribute("aria-label")))
        assert f"at step {measured[int(place)]}: highest" in pictures[-1][1]
    for drawn in zip(*pictures, strict=True):
        assert len(set(drawn)) == len(pictures)
    seen.check()


def test_switches_and_jumps(shared_server: Any, visit: Any) -> None:
    """Guards the fixed axes: what hides a collapse is off until it is asked for, and can be undone."""
    seen, machine = open_machine(shared_server, visit, f"instrument?{RUN}")
    machine.get_by_role("button", name="end").click()
    fixed = machine.evaluate(SEEN)
    assert fixed["step"] == f"step {STEPS[-1]}"
    assert machine.locator(".phase").inner_text() == STORY[-1]["phase"]
    for switch in ("autoscale hides collapse", "refit each step"):
        machine.get_by_label(switch).check()
        assert machine.evaluate(SEEN)["cloud"] != fixed["cloud"]
        assert machine.locator(".cloud").evaluate(INKED) > 0.6, "it does not hide the collapse"
        machine.get_by_label(switch).uncheck()
        assert machine.evaluate(SEEN) == fixed
    machine.get_by_role("button", name="best AUROC").click()
    best = float(machine.evaluate(SEEN)["now"])
    assert best == max(float(value) for value in every_auroc(machine))
    if fired(MEASURED) is not None:
        machine.get_by_role("button", name="first alarm").click()
        told = machine.locator(".gauge").evaluate_all("gauges => gauges.map(gauge => gauge.title).join()")
        assert "at " + machine.locator(".step").inner_text() in told
    assert machine.get_by_role("button", name="where it stopped").count() == 0  # its length was fixed
    seen.check()


def test_a_run_without_a_refit_says_so(shared_server: Any, visit: Any) -> None:
    """Guards runs of older versions: a switch that does nothing, or a page that ends in the middle."""
    old = shared_server.folder / "runs" / "without-refit"
    recorded = unpacked(ROOT / "assets" / "recorded", shared_server.folder / "cache")
    shutil.copytree(recorded / "break-digits-9", old)
    for path in old.glob("arrays/*.npz"):
        write_arrays(path, {name: array for name, array in read_arrays(path).items() if not name.startswith("refit_")})
    seen, machine = open_machine(shared_server, visit, "instrument?run=without-refit")
    switch = machine.get_by_label("refit each step (not recorded)")
    assert switch.is_disabled() and not switch.is_checked()
    machine.get_by_role("button", name="end").click()
    assert machine.locator(".phase").inner_text() == STORY[-1]["phase"]
    seen.check()


def every_auroc(machine: Any) -> list[str]:
    """Return the AUROC shown at each place of the scrubber."""
    scrub = machine.get_by_label("Position in the run")
    values = []
    for place in range(int(scrub.get_attribute("max")) + 1):
        scrub.fill(str(place))
        values.append(machine.locator(".now").inner_text())
    return values


def test_the_keyboard_is_enough(shared_server: Any, visit: Any) -> None:
    """Guards those who use no mouse."""
    seen, machine = open_machine(shared_server, visit, f"instrument?{RUN}&at={STEPS[6]}")
    step = machine.locator(".step")
    assert step.inner_text() == f"step {STEPS[6]}"
    machine.get_by_label("Position in the run").focus()
    for key, expected in (("ArrowRight", STEPS[7]), ("ArrowLeft", STEPS[6]), ("End", STEPS[-1]), ("Home", 0)):
        seen.page.keyboard.press(key)
        assert step.inner_text() == f"step {expected}"
    seen.page.keyboard.press(" ")
    machine.get_by_role("button", name="Pause").wait_for(timeout=20_000)
    seen.page.keyboard.press(" ")
    machine.get_by_role("button", name="Play").wait_for(timeout=20_000)
    seen.check()


def test_an_address_shows_what_was_shared(shared_server: Any, visit: Any) -> None:
    """Guards links: the step comes back, a step that does not exist falls back, hidden panels are hidden."""
    seen, machine = open_machine(shared_server, visit, f"instrument?{RUN}&at={STEPS[5]}&hide=spectrum,ranking")
    assert machine.locator(".step").inner_text() == f"step {STEPS[5]}"
    assert not machine.locator(".spectrum").is_visible() and machine.locator(".histogram").is_visible()
    seen.page.goto(f"{shared_server.url}/instrument?{RUN}&at=banana&hide=")
    machine.locator(".spectrum").wait_for(timeout=60_000)
    assert machine.locator(".step").inner_text() == "step 0"
    seen.check()


def test_a_duel_of_recorded_runs_moves_together(shared_server: Any, visit: Any) -> None:
    """Guards the tied scrubber: all sides move, and each has a number."""
    seen, duel = open_machine(shared_server, visit, "duel?duel=break-digits-9,ses-digits-9")
    scores = duel.locator(".scores li")
    assert scores.count() == 2
    duel.get_by_label("Position in all runs").fill("0")
    before = scores.all_inner_texts()
    scrub = duel.get_by_label("Position in all runs")
    scrub.fill(scrub.get_attribute("max"))
    assert all(old != new for old, new in zip(before, scores.all_inner_texts(), strict=True))
    seen.check()


# Of the words in the histogram: those that the threshold crosses, and the pairs that meet.
CROSSED = """(machine) => {
    const svg = machine.querySelector('.histogram'), line = svg.querySelector('.limit').getBoundingClientRect();
    const boxes = [...svg.querySelectorAll('.group, .named, .overlapped')]
        .filter((text) => text.textContent && getComputedStyle(text).display !== 'none')
        .map((text) => ({ name: text.textContent, box: text.getBoundingClientRect() }));
    const between = (at, { left, right }) => at > left + 1 && at < right - 1;
    const crossed = boxes.filter(({ box }) => between(line.x, box) && line.y < box.bottom - 2).map(({ name }) => name);
    const apart = (a, b) => a.right - 1 <= b.left || a.bottom - 3 <= b.top;
    const meet = (a, b) => !apart(a.box, b.box) && !apart(b.box, a.box);
    boxes.forEach((one, i) => boxes.slice(0, i).filter((other) => meet(one, other))
        .forEach((other) => crossed.push(one.name + ' / ' + other.name)));
    return crossed;
}"""


@pytest.mark.parametrize("run", ["break-digits-9", "break-cifar10-ship"])
def test_no_word_of_the_histogram_is_crossed(run: str, shared_server: Any, visit: Any) -> None:
    """A threshold drawn through "anomalous", and names that lie on one another, at any step of a run that collapses."""
    seen, machine = open_machine(shared_server, visit, f"instrument?run={run}")
    scrub = machine.get_by_label("Position in the run")
    found = {}
    for place in range(int(scrub.get_attribute("max") or 0) + 1):
        scrub.fill(str(place))
        found[place] = machine.evaluate(CROSSED)
    assert len(found) > 8 and {place: words for place, words in found.items() if words} == {}
    seen.check()


def test_equal_curves_of_a_race_are_both_drawn(shared_server: Any, visit: Any) -> None:
    """A line that hides the one below it: the recorded race has two recipes of the same steps."""
    seen = visit(reduced_motion="reduce")
    seen.page.goto(f"{shared_server.url}/duel")
    machine = seen.page.locator(".machine").first
    machine.locator(".equal").filter(has_text="equal at every step").wait_for(timeout=60_000)
    for chart in (".chart.auroc", ".chart.ratios"):
        below, above = (machine.locator(f"{chart} .past{place}") for place in (0, 1))
        assert below.get_attribute("d") == above.get_attribute("d")
        assert float(below.get_attribute("stroke-width")) > 2 * float(above.get_attribute("stroke-width"))
    seen.check()
