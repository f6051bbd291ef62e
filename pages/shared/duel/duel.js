// Up to four runs under one scrubber. While they compute, new data arrives and the race goes on from where it was.
const SHAPES = ["circle", "square", "circle", "square"];
const duels = new WeakMap();

export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".machine");
  if (!root || !data) return;
  const before = duels.get(root);
  const points = data.end + data.equal + data.waiting + JSON.stringify(data.runs.map((run) => [run.label, run.at, run.auroc.length, run.final, run.state]));
  let duel = before;
  if (!before || before.points !== points) {
    if (before) before.destroy();
    duel = new Duel(root, data, points, before);
    duels.set(root, duel);
  }
  duel.draw();
  return () => duel.destroy();
}

class Duel extends Player {
  constructor(root, data, points, before) {
    super(root, data);
    this.points = points;
    // Whoever stands at the end wants to see the race; whoever looked back stays there.
    this.position = before && before.position < before.last ? Math.min(before.position, this.last) : this.last;
    root.onkeydown = (event) => {
      const inside = event.composedPath()[0];
      if (event.key === " " && !(inside instanceof HTMLButtonElement)) this.playing ? this.pause() : this.play();
      else if (this.moves[event.key] && !event.ctrlKey && !event.altKey && !event.metaKey) this.moves[event.key]();
      else return;
      event.preventDefault();
    };
    this.build();
    this.follow();
    if (before && before.playing) this.play();
  }

  // A number line and a cloud for each run.
  build() {
    const { data } = this;
    const finals = data.runs.map((run) => run.final);
    this.best = finals.length > 1 && !data.waiting && !finals.includes(null) ? Math.max(...finals) : null; // known once all have ended
    this.scores = data.runs.map((run) => {
      const item = document.createElement("li");
      const mark = document.createElement("span");
      mark.className = "swatch" + (run.place % 2 ? " odd" : "");
      mark.style.background = run.colour;
      const [name, now, end, why] = ["name", "now", "end", "why"].map((kind) => Object.assign(document.createElement("span"), { className: kind }));
      name.textContent = run.label;
      why.textContent = run.came.why ?? "";
      item.append(mark, name, now, end, why);
      return item;
    });
    this.find("scores").replaceChildren(...this.scores);
    this.find("equal").textContent = data.equal;
    const views = this.find("clouds");
    views.style.setProperty("--count", data.runs.length);
    this.clouds = data.runs.map((run) => {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      caption.className = "label";
      caption.textContent = run.label;
      const canvas = document.createElement("canvas");
      canvas.className = "cloud";
      canvas.setAttribute("role", "img");
      const told = document.createElement("p");
      told.className = "told";
      figure.append(caption, canvas, told);
      const spread = Object.fromEntries(Object.entries(run.clouds).map(([name, frames]) => [name, run.at.map((place) => frames[place])]));
      const words = run.at.map((place) => ({ caption: run.label + ", " + run.words[place].caption }));
      return [told, figure, new Cloud(canvas, this.root, { steps: data.steps, clouds: spread, frame: run.frame, colours: data.colours, words })];
    });
    views.replaceChildren(...this.clouds.map(([, figure]) => figure));
  }

  destroy() {
    this.leave();
    this.root.onkeydown = null;
    duels.delete(this.root);
  }

  prepare() {
    const { data } = this;
    for (const [, , cloud] of this.clouds) cloud.prepare();
    const lines = (key) => data.runs.map((run) => ({
      values: data.steps.map((_, place) => (place <= run.until ? run[key][run.at[place]] : null)),
      colour: run.colour, dash: ["", "7 4", "2 3", "8 3 2 3"][run.place], shape: SHAPES[run.place], name: run.label,
    }));
    this.charts = [
      new Chart(this.find("auroc"), data, "AUROC (needs labels)", data.auroc_range, 2, lines("auroc"), [], true),
      new Chart(this.find("ratios"), data, "Anomalous distance, training = 1", data.ratio_range, 1, lines("anomalous_ratio"), [], true),
    ];
  }

  draw() {
    const { data } = this;
    const place = Math.min(Math.round(this.position), this.last);
    data.runs.forEach((run, i) => {
      const own = run.at[place];
      const told = {
        now: `step ${run.steps[own]}: AUROC ${number(run.auroc[0])} → ${number(run.auroc[own])}, ${run.words[own].phase}`,
        end: run.final === null ? run.state : `final ${number(run.final)}${run.final === this.best ? ", the highest" : ""}: ${run.came.rule}`,
      };
      for (const [kind, text] of Object.entries(told)) {
        const element = this.scores[i].querySelector("." + kind);
        if (element.textContent !== text) element.textContent = text;
      }
    });
    this.find("step").textContent = this.told(place);
    this.find("play").textContent = this.playing ? "Pause" : "Play";
    this.find("scrub").value = place;
    this.find("scrub").setAttribute("aria-valuetext", "step " + data.steps[place]);
    for (const chart of this.charts) chart.draw(this.position);
    this.clouds.forEach(([told, , cloud], i) => {
      cloud.draw(this.position, place, { autoscale: false, refit: false });
      const { words, at, note, anomalous_ratio: ratio } = data.runs[i];
      const own = at[place];
      const far = ratio[own] === null || own === 0 ? "" :
        `Anomalies lie ${ratio[own].toFixed(2)} times as far from the center as training images; it was ${ratio[0].toFixed(2)}.`;
      const text = [words[own].caption, far, note].filter(Boolean).join(" ");
      if (told.textContent !== text) told.textContent = text;
    });
  }
}
