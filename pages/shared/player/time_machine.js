// One scrubber over all measured steps of a run. Nothing is asked of the server after the data has arrived; while the
// run computes, more of it arrives by itself.
const SLOW = 0.25;
const READING = 2500; // ms for which a caption stays at least, also where it follows a run that computes
const machines = new WeakMap();

export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".machine");
  if (!root || !data) return;
  let machine = machines.get(root);
  if (machine && machine.data.run === data.run && machine.data.heat?.run === data.heat?.run) machine.grow(data);
  else {
    // Heatmaps that arrive later find the machine where it stood.
    const before = machine && machine.data.run === data.run ? machine.position : undefined;
    if (machine) machine.destroy();
    machine = new Machine(root, before === undefined ? data : { ...data, start: before, plays: false });
    machines.set(root, machine);
  }
  machine.draw(); // again when the theme has changed
  return () => machine.destroy();
}

class Machine extends Player {
  constructor(root, data) {
    super(root, data);
    this.position = Math.min(data.start ?? 0, this.last); // whole: a measurement; between two, the picture glides
    for (const panel of root.querySelectorAll("[data-panel]")) {
      panel.hidden = data.hidden.includes(panel.dataset.panel) || (panel.dataset.panel === "heatmap" && !data.heat);
    }
    // Columns first: one without a panel takes no room among its neighbours.
    for (const group of [...root.querySelectorAll(".column"), ...root.querySelectorAll(".views")]) {
      const shown = [...group.children].filter((child) => !child.hidden).length;
      group.hidden = shown === 0;
      group.style.setProperty("--count", shown);
    }
    this.find("first").textContent = number(data.auroc[0]);
    this.wire();
    this.heatmap = data.heat ? new Heatmap(root.querySelector("[data-panel=heatmap]"), data, () => this.draw()) : null;
    this.ranking = new Ranking(this.find("ranking"), data, this.heatmap && ((image) => this.choose(image)));
    this.find("hint").hidden = !this.heatmap;
    if (this.heatmap) this.ranking.press(this.heatmap.chosen);
    this.cloud = new Cloud(this.find("cloud"), root, data);
    this.follow();
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (still || !data.plays) this.draw();
    else this.play();
  }

  wire() {
    this.find("restart").onclick = () => { this.position = 0; this.play(); };
    for (const name of ["autoscale", "refit"]) this.find(name).onchange = () => this.draw();
    this.equip();
    this.keys = (event) => {
      const inside = event.composedPath()[0];
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const space = event.key === " " && !(inside instanceof HTMLButtonElement) && inside.type !== "checkbox";
      if (space) this.playing ? this.pause() : this.play();
      else if (this.moves[event.key]) this.moves[event.key]();
      else return;
      event.preventDefault();
    };
    this.root.addEventListener("keydown", this.keys);
  }

  // What depends on how far the run has come: jumps to what has happened, and whether directions fitted anew are known.
  equip() {
    const { data } = this;
    const refit = this.find("refit");
    refit.disabled = !data.refitted;
    this.find("way").textContent = data.refitted ? "refit each step (lies)" : "refit each step (not recorded)";
    if (refit.disabled) refit.checked = false;
    for (const button of this.root.querySelectorAll("[data-jump]")) {
      const place = data.jumps[button.dataset.jump];
      button.hidden = place === null || place === undefined;
      button.onclick = () => this.go(place);
      if (button.dataset.jump === "stop") [button.textContent, button.title] = [data.stopped.name, data.stopped.about];
    }
    this.root.dataset.measured = data.steps.length;
  }

  // A run that computes has been measured once more: whoever stood at its end goes on with it, others stay.
  grow(data) {
    if (data.points === this.data.points && data.end === this.data.end) return;
    const followed = this.position >= this.last && !this.playing;
    this.data = this.cloud.data = this.ranking.data = data;
    if (this.heatmap) this.heatmap.data = data;
    this.cloud.extents = [];
    this.last = data.steps.length - 1;
    this.position = Math.min(this.position, this.last);
    this.find("scrub").max = this.last;
    this.equip();
    this.prepare();
    if (followed) this.chase();
  }

  // To the newest measurement; where its caption is another one, not before the one that is shown has been read.
  chase() {
    clearTimeout(this.waiting);
    const other = this.data.words[this.last].key !== this.shown;
    const left = other ? READING - (performance.now() - (this.since ?? -READING)) : 0;
    if (left > 0) this.waiting = setTimeout(() => this.chase(), left);
    else this.position = this.last;
    this.draw();
  }

  destroy() {
    this.playing = false;
    clearTimeout(this.waiting);
    this.leave();
    this.root.removeEventListener("keydown", this.keys);
    machines.delete(this.root);
  }

  // A film that ends by itself leaves the address alone: whoever comes back to it sees it play.
  pause() {
    clearTimeout(this.waiting);
    this.rest();
    this.remember();
  }

  choose(image) {
    this.heatmap.chosen = image;
    this.ranking.press(image);
    this.draw();
  }

  // The address holds the step, so that a link shows what is seen now.
  remember() {
    const url = new URL(window.location.href);
    url.searchParams.set("at", this.data.steps[Math.round(this.position)]);
    window.history.replaceState(window.history.state, "", url);
  }

  speed() {
    return super.speed() * (this.find("slow").checked ? SLOW : 1);
  }

  prepare() {
    const { data } = this;
    this.cloud.prepare();
    this.ranking.prepare();
    this.heatmap?.prepare();
    const marks = [["best", "best", "2 3"], ["stop", data.stopped.mark, ""], ["alarm", "alarm", "6 3"]];
    this.charts = [
      new Chart(this.find("auroc"), data, "AUROC (needs labels)", data.auroc_range, 2, [
        { values: data.auroc, colour: data.colours.normal, dash: "", shape: "circle", name: "", low: data.auroc_low, high: data.auroc_high },
      ], marks, false, data.levels),
      new Chart(this.find("meters"), data, "Without labels, step 0 = 1", data.share_range, 2, [
        { values: data.rank, colour: data.colours.train, dash: "", shape: "circle", name: "rank" },
        { values: data.spread, colour: data.colours.mark, dash: "2 3", shape: "square", name: "spread" },
        { values: data.neighbours, colour: data.colours.kept, dash: "7 4", shape: "circle", name: "neighbours" },
      ], marks.slice(2)),
      new Chart(this.find("ratios"), data, "Distance to center, training = 1", data.ratio_range, 1, [
        { values: data.anomalous_ratio, colour: data.colours.anomalous, dash: "7 4", shape: "square", name: "anomalous" },
        { values: data.normal_ratio, colour: data.colours.normal, dash: "", shape: "circle", name: "normal" },
      ]),
      new Histogram(this.find("histogram"), data),
      new Spectrum(this.find("spectrum"), data),
    ];
  }

  draw() {
    const { data } = this;
    const place = Math.min(Math.round(this.position), this.last);
    const words = data.words[place];
    const text = (name, value) => {
      const element = this.find(name);
      if (element.textContent !== value) element.textContent = value;
    };
    const scale = { autoscale: this.find("autoscale").checked, refit: this.find("refit").checked };
    text("now", number(data.auroc[place]));
    text("phase", words.phase);
    this.find("phase").dataset.phase = words.phase;
    this.find("phase").title = data.auroc[place] === null ? "Told by the alarm, without labels" : "Told with the test labels, by the AUROC";
    text("caption", words.caption);
    if (words.key !== this.shown) [this.shown, this.since] = [words.key, performance.now()];
    this.gauges(place);
    text("step", this.told(place));
    text("play", this.playing ? "Pause" : "Play");
    this.find("scrub").value = place;
    this.find("scrub").setAttribute("aria-valuetext", "step " + data.steps[place]);
    this.cloud.draw(this.position, place, scale);
    for (const chart of this.charts) chart.draw(this.position, place, scale);
    this.ranking.draw(place);
    this.heatmap?.draw(this.position, place);
  }

  // What the alarm measures, each value and its line: numbers, no second opinion.
  gauges(place) {
    const { gauges, steps } = this.data;
    this.find("alarm").hidden = !gauges.length;
    const holder = this.find("gauges");
    while (holder.children.length > gauges.length) holder.lastChild.remove();
    while (holder.children.length < gauges.length) {
      const gauge = document.createElement("div");
      gauge.className = "gauge";
      for (const name of ["name", "scale", "reading"]) gauge.append(Object.assign(document.createElement("span"), { className: name }));
      for (const name of ["filled", "line"]) gauge.children[1].append(Object.assign(document.createElement("span"), { className: name }));
      holder.append(gauge);
    }
    gauges.forEach((gauge, i) => {
      const [name, scale, reading] = holder.children[i].children;
      const fired = gauge.fired !== null && gauge.fired <= place;
      holder.children[i].title = gauge.measures + (fired ? ". First below its line at step " + steps[gauge.fired] : "");
      name.textContent = gauge.name;
      scale.firstChild.style.width = 100 * (gauge.shares[place] ?? 0) + "%";
      scale.lastChild.style.left = 100 * gauge.lines[place] + "%";
      reading.textContent = gauge.told[place];
    });
  }
}
