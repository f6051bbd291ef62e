// Plays a recorded run in the browser: nothing is asked of the server after the data has arrived.
const MILLISECONDS = 520; // a measurement
const LEAST = 1e-3; // no cloud is enlarged further than this reach, in units of the features
const players = new WeakMap();

export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".player");
  if (!root || !data) return;
  let player = players.get(root);
  if (!player) {
    player = new Player(root, data);
    players.set(root, player);
  }
  player.draw(); // again when the theme has changed
  return () => player.destroy();
}

class Player {
  constructor(root, data) {
    this.data = data;
    this.root = root;
    this.last = data.steps.length - 1;
    this.position = 0; // a whole number is a measurement; between two, the picture glides
    this.playing = false;
    this.find = (name) => root.querySelector("." + name);
    for (const name of ["train", "normal", "anomalous"]) root.style.setProperty("--" + name, data.colours[name]);
    this.find("scrub").max = this.last;
    this.find("first").textContent = number(data.auroc[0]);
    this.find("play").onclick = () => (this.playing ? this.pause() : this.play());
    this.find("restart").onclick = () => { this.position = 0; this.play(); };
    this.find("back").onclick = () => this.go(Math.ceil(this.position) - 1);
    this.find("next").onclick = () => this.go(Math.floor(this.position) + 1);
    this.find("scrub").oninput = (event) => this.go(Number(event.target.value));
    this.observer = new ResizeObserver(() => { this.prepare(); this.draw(); });
    this.observer.observe(root);
    this.prepare();
    if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) this.pause();
    else this.play();
  }

  destroy() {
    this.pause();
    this.observer.disconnect();
    players.delete(this.root);
  }

  play() {
    if (this.position >= this.last) this.position = 0;
    this.playing = true;
    this.before = undefined;
    cancelAnimationFrame(this.request);
    this.request = requestAnimationFrame((now) => this.tick(now));
    this.draw();
  }

  pause() {
    this.playing = false;
    cancelAnimationFrame(this.request);
    this.draw();
  }

  go(position) {
    this.position = Math.min(Math.max(position, 0), this.last);
    this.pause();
  }

  tick(now) {
    const gone = this.before === undefined ? 0 : Math.min(now - this.before, 100);
    this.before = now;
    // The start stands still for a moment, long enough to read what is seen.
    const speed = this.position < 1 ? 0.45 : 1;
    this.position = Math.min(this.position + (speed * gone) / MILLISECONDS, this.last);
    if (this.position >= this.last) return this.pause();
    this.draw();
    this.request = requestAnimationFrame((next) => this.tick(next));
  }

  prepare() {
    const canvas = this.find("cloud");
    const scale = window.devicePixelRatio || 1;
    this.size = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(this.size[0] * scale);
    canvas.height = Math.round(this.size[1] * scale);
    this.context = canvas.getContext("2d");
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    const { data } = this;
    this.charts = [
      new Chart(this.find("auroc"), data, "AUROC", data.auroc_range, 2, [
        { values: data.auroc, colour: data.colours.normal, dash: "", shape: "circle" },
      ]),
      new Chart(this.find("ratios"), data, "distance to centre, training = 1", data.ratio_range, 1, [
        { values: data.anomalous_ratio, colour: data.colours.anomalous, dash: "7 4", shape: "square", name: "anomalous" },
        { values: data.normal_ratio, colour: data.colours.normal, dash: "", shape: "circle", name: "normal" },
      ]),
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
    text("now", number(data.auroc[place]));
    text("phase", words.phase);
    this.find("phase").dataset.phase = words.phase;
    text("caption", words.caption);
    text("step", "step " + data.steps[place]);
    text("play", this.playing ? "Pause" : "Play");
    this.find("scrub").value = place;
    this.find("scrub").setAttribute("aria-valuetext", "step " + data.steps[place]);
    this.find("cloud").setAttribute("aria-label", "Features in two fixed directions at step " + data.steps[place] + ". " + words.caption);
    this.cloud();
    for (const chart of this.charts) chart.draw(this.position, place);
  }

  cloud() {
    const { context, data } = this;
    const [width, height] = this.size;
    const from = Math.floor(this.position);
    const to = Math.min(from + 1, this.last);
    const part = this.position - from;
    // One scale for both directions, fixed at step 0: a shrinking cloud is seen to shrink.
    const [[left, right], [bottom, top]] = data.frame;
    const scale = Math.min((width - 20) / (right - left), (height - 16) / (top - bottom));
    const x = (value) => width / 2 + (value - (left + right) / 2) * scale;
    const y = (value) => height / 2 - (value - (bottom + top) / 2) * scale;
    context.clearRect(0, 0, width, height);
    for (const name of ["anomalous", "normal", "train"]) {
      context.fillStyle = data.colours[name];
      context.globalAlpha = 0.62;
      const start = data.clouds[name][from];
      const end = data.clouds[name][to];
      for (let i = 0; i < start.length; i += 2) {
        const px = x(start[i] + (end[i] - start[i]) * part);
        const py = y(start[i + 1] + (end[i + 1] - start[i + 1]) * part);
        mark(context, name, px, py, 1);
      }
    }
    context.globalAlpha = 1;
    context.strokeStyle = getComputedStyle(this.root).color;
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x(0) - 8, y(0)); context.lineTo(x(0) + 8, y(0));
    context.moveTo(x(0), y(0) - 8); context.lineTo(x(0), y(0) + 8);
    context.stroke();
    this.magnified(from, to, part, scale);
  }

  // Once the cloud is small, a lens shows it enlarged, so that what is left of its shape can be seen.
  magnified(from, to, part, scale) {
    const { context } = this;
    const mix = (a, b) => a + (b - a) * part;
    const [a, b] = [this.extent(from), this.extent(to)];
    const [cx, cy, reach] = [mix(a[0], b[0]), mix(a[1], b[1]), Math.exp(mix(Math.log(a[2]), Math.log(b[2])))];
    const side = Math.min(150, 0.42 * this.size[0], 0.48 * this.size[1]);
    const factor = side / 2 / reach / scale;
    if (factor < 2.5) return;
    const [left, top] = [this.size[0] - side - 6, 22];
    const colour = getComputedStyle(this.root).color;
    context.save();
    context.globalAlpha = Math.min(1, (factor - 2.5) / 1.5);
    context.fillStyle = colour;
    context.font = "12px " + getComputedStyle(this.root).fontFamily;
    context.fillText("enlarged × " + Number(factor.toPrecision(2)).toLocaleString("en"), left, top - 7);
    context.lineWidth = 1;
    context.strokeStyle = colour;
    context.strokeRect(left, top, side, side);
    context.beginPath();
    context.rect(left, top, side, side);
    context.clip();
    context.globalAlpha *= 0.62;
    for (const name of ["anomalous", "normal", "train"]) {
      const [start, end] = [this.data.clouds[name][from], this.data.clouds[name][to]];
      context.fillStyle = this.data.colours[name];
      for (let i = 0; i < start.length; i += 2) {
        const px = left + side / 2 + (mix(start[i], end[i]) - cx) * scale * factor;
        const py = top + side / 2 - (mix(start[i + 1], end[i + 1]) - cy) * scale * factor;
        mark(context, name, px, py, 0.7);
      }
    }
    context.restore();
  }

  // Middle and reach of nearly all points of a measurement.
  extent(place) {
    this.extents = this.extents || [];
    if (!this.extents[place]) {
      const all = ["anomalous", "normal", "train"].flatMap((name) => this.data.clouds[name][place]);
      const [xs, ys] = [0, 1].map((odd) => all.filter((_, i) => i % 2 === odd).sort((p, q) => p - q));
      const at = (list, share) => list[Math.round(share * (list.length - 1))];
      const spans = [xs, ys].map((list) => at(list, 0.98) - at(list, 0.02));
      const middles = [xs, ys].map((list) => (at(list, 0.98) + at(list, 0.02)) / 2);
      this.extents[place] = [...middles, Math.max(...spans, LEAST) * 0.6];
    }
    return this.extents[place];
  }
}

class Chart {
  constructor(svg, data, title, range, digits, lines) {
    this.svg = svg;
    this.data = data;
    this.lines = lines;
    const width = svg.clientWidth || 300;
    const height = svg.clientHeight || 160;
    const [left, right, top, bottom] = [38, width - 10, 22, height - 22];
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("aria-label", title + " over optimiser steps");
    const end = data.steps[data.steps.length - 1] || 1;
    this.x = (step) => left + ((right - left) * step) / end;
    this.y = (value) => bottom - ((bottom - top) * (value - range[0])) / (range[1] - range[0]);
    const ticks = [range[0], (range[0] + range[1]) / 2, range[1]];
    let markup = `<text x="0" y="12">${title}</text>`;
    for (const tick of ticks) {
      markup += `<line class="grid" x1="${left}" x2="${right}" y1="${this.y(tick)}" y2="${this.y(tick)}"/>`;
      markup += `<text class="faint" x="${left - 6}" y="${this.y(tick) + 4}" text-anchor="end">${tick.toFixed(digits)}</text>`;
    }
    markup += `<text class="faint" x="${left}" y="${height - 5}">unadapted</text>`;
    markup += `<text class="faint" x="${right}" y="${height - 5}" text-anchor="end">step ${end}</text>`;
    lines.forEach((line, index) => {
      const path = this.path(line.values, data.steps.length - 1);
      markup += `<path class="future" d="${path}" fill="none" stroke="${line.colour}" stroke-width="2"/>`;
      markup += `<path class="past${index}" fill="none" stroke="${line.colour}" stroke-width="2.4" stroke-dasharray="${line.dash}"/>`;
      markup += line.shape === "square"
        ? `<rect class="dot${index}" width="10" height="10" x="-5" y="-5" fill="${line.colour}"/>`
        : `<circle class="dot${index}" r="5.5" fill="${line.colour}"/>`;
      if (line.name) markup += `<text class="name${index} faint">${line.name}</text>`;
    });
    svg.innerHTML = markup; // built of numbers and fixed words alone
  }

  path(values, upTo) {
    const points = [];
    for (let i = 0; i <= Math.floor(upTo); i++) points.push([this.data.steps[i], values[i]]);
    const [step, value] = this.at(values, upTo);
    points.push([step, value]);
    return points.map(([s, v], i) => `${i ? "L" : "M"}${this.x(s).toFixed(1)} ${this.y(v).toFixed(1)}`).join("");
  }

  at(values, position) {
    const from = Math.floor(position);
    const to = Math.min(from + 1, values.length - 1);
    const mix = (list) => list[from] + (list[to] - list[from]) * (position - from);
    return [mix(this.data.steps), mix(values)];
  }

  draw(position) {
    this.lines.forEach((line, index) => {
      this.svg.querySelector(".past" + index).setAttribute("d", this.path(line.values, position));
      const [step, value] = this.at(line.values, position);
      const [x, y] = [this.x(step), this.y(value)];
      this.svg.querySelector(".dot" + index).setAttribute("transform", `translate(${x} ${y})`);
      const name = this.svg.querySelector(".name" + index);
      if (!name) return;
      const right = x > this.x(this.data.steps[this.data.steps.length - 1]) * 0.7;
      name.setAttribute("x", right ? x - 9 : x + 9);
      name.setAttribute("text-anchor", right ? "end" : "start");
      name.setAttribute("y", index === 0 ? y - 9 : y + 18);
    });
  }
}

// One image: a square, a circle or a triangle, so that groups differ in more than colour.
function mark(context, name, x, y, size) {
  context.beginPath();
  if (name === "anomalous") context.rect(x - 3 * size, y - 3 * size, 6 * size, 6 * size);
  else if (name === "normal") context.arc(x, y, 3.6 * size, 0, 2 * Math.PI);
  else {
    context.moveTo(x, y - 4 * size);
    context.lineTo(x + 3.8 * size, y + 3 * size);
    context.lineTo(x - 3.8 * size, y + 3 * size);
  }
  context.fill();
}

function number(value) {
  return value === null || value === undefined ? "–" : value.toFixed(3);
}
