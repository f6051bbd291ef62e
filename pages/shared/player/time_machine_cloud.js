// The cloud of features in two directions.
const GROUPS = ["train", "normal", "anomalous"]; // the few that are looked for lie on top
const RINGS = [1, 0.1, 0.01]; // radii, in that of the training images at step 0
const LEAST = 1e-12; // reach of a cloud that is a point

// What the signs of a cloud mean: name of the group, words.
const SIGNS = [["train", "training"], ["normal", "normal test"], ["anomalous", "anomalous test"], ["center", "center"]];

function explain(legend) {
  legend.replaceChildren(...SIGNS.map(([name, words]) => Object.assign(document.createElement("span"), { className: "key " + name, textContent: words })));
}

class Cloud {
  constructor(canvas, root, data) {
    Object.assign(this, { canvas, root, data, extents: [] });
  }

  prepare() {
    const scale = window.devicePixelRatio || 1;
    this.size = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.canvas.width = Math.round(this.size[0] * scale);
    this.canvas.height = Math.round(this.size[1] * scale);
    this.context = this.canvas.getContext("2d");
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
  }

  // {group: points} at a place: in the directions of step 0, or in those of this step alone, as they were recorded.
  points(place, refit) {
    const clouds = refit ? this.data.refitted : this.data.clouds;
    return Object.fromEntries(GROUPS.map((name) => [name, clouds[name][place]]));
  }

  draw(position, place, { autoscale, refit }) {
    const { context, data } = this;
    const [width, height] = this.size;
    if (!width) return;
    const from = Math.floor(position);
    const to = Math.min(from + 1, data.steps.length - 1);
    const part = position - from;
    const mix = (a, b) => a + (b - a) * part;
    let [[left, right], [bottom, top]] = data.frame; // fixed at step 0: a shrinking cloud is seen to shrink
    if (refit) [[left, right], [bottom, top]] = [[-2.6, 2.6], [-2.6, 2.6]];
    else if (autoscale) {
      const [a, b] = [this.extent(from), this.extent(to)];
      const [cx, cy, reach] = [mix(a[0], b[0]), mix(a[1], b[1]), Math.exp(mix(Math.log(a[2]), Math.log(b[2])))];
      [[left, right], [bottom, top]] = [[cx - reach, cx + reach], [cy - reach, cy + reach]];
    }
    const scale = Math.min((width - 20) / (right - left), (height - 16) / (top - bottom));
    const x = (value) => width / 2 + (value - (left + right) / 2) * scale;
    const y = (value) => height / 2 - (value - (bottom + top) / 2) * scale;
    context.clearRect(0, 0, width, height);
    if (!refit) this.rings(x, y, scale);
    const [start, end] = [this.points(from, refit), this.points(to, refit)];
    context.globalAlpha = 0.62;
    for (const name of GROUPS) {
      context.fillStyle = data.colours[name];
      for (let i = 0; i < start[name].length; i += 2) {
        sign(context, name, x(mix(start[name][i], end[name][i])), y(mix(start[name][i + 1], end[name][i + 1])), 1);
      }
    }
    context.globalAlpha = 1;
    context.strokeStyle = getComputedStyle(this.root).color;
    context.lineWidth = 2;
    if (!refit) {
      context.beginPath();
      context.moveTo(x(0) - 8, y(0)); context.lineTo(x(0) + 8, y(0));
      context.moveTo(x(0), y(0) - 8); context.lineTo(x(0), y(0) + 8);
      context.stroke();
    }
    if (refit) {
      context.fillStyle = context.strokeStyle;
      context.font = this.font();
      context.fillText("axes fitted to this step: " + enlarged(data.refitted.enlarged[place]), 10, 16 * enlargement());
    } else if (!autoscale) this.magnified(from, to, part, scale);
    const way = refit ? "directions fitted anew at each step" : "two directions fixed at step 0";
    const caption = `Features in ${way}, at step ${data.steps[place]}. ${data.words[place].caption}`;
    if (this.canvas.getAttribute("aria-label") !== caption) this.canvas.setAttribute("aria-label", caption);
  }

  font() {
    return `${13.6 * enlargement()}px ${getComputedStyle(this.root).fontFamily}`;
  }

  // Circles about the center: a cloud that shrinks is seen to leave one after the other.
  rings(x, y, scale) {
    const { context } = this;
    context.save();
    context.strokeStyle = context.fillStyle = getComputedStyle(this.root).color;
    context.font = this.font();
    context.textAlign = "center";
    for (const radius of RINGS) {
      const wide = radius * this.unit() * scale;
      if (wide < 3 || wide > this.size[0]) continue;
      context.globalAlpha = 0.28;
      context.lineWidth = 1;
      context.beginPath();
      context.arc(x(0), y(0), wide, 0, 2 * Math.PI);
      context.stroke();
      context.globalAlpha = 0.7;
      if (wide > 14 * enlargement()) context.fillText(String(radius), x(0), y(0) + wide - 3);
    }
    context.restore();
  }

  // How far training images lay from the center at step 0, as seen in the two directions: root of the mean square.
  unit() {
    const first = this.data.clouds.train[0];
    this.radius ??= Math.sqrt(first.reduce((sum, value) => sum + value * value, 0) / Math.max(first.length / 2, 1)) || 1;
    return this.radius;
  }

  // Once the cloud is small, a lens shows it enlarged, so that what is left of its shape can be seen.
  magnified(from, to, part, scale) {
    const { context } = this;
    const mix = (a, b) => a + (b - a) * part;
    const [a, b] = [this.extent(from), this.extent(to)];
    const [cx, cy, reach] = [mix(a[0], b[0]), mix(a[1], b[1]), Math.exp(mix(Math.log(a[2]), Math.log(b[2])))];
    const side = Math.min(140 * enlargement(), 0.42 * this.size[0], 0.48 * this.size[1]);
    const factor = side / 2 / reach / scale;
    if (factor < 2.5) return;
    const [left, top] = [this.size[0] - side - 6, 22 * enlargement()];
    const colour = getComputedStyle(this.root).color;
    context.save();
    context.globalAlpha = Math.min(1, (factor - 2.5) / 1.5);
    context.fillStyle = colour;
    context.font = this.font();
    context.textAlign = "right";
    context.fillText(enlarged(factor), left + side, top - 7);
    context.lineWidth = 1;
    context.strokeStyle = colour;
    context.strokeRect(left, top, side, side);
    context.beginPath();
    context.rect(left, top, side, side);
    context.clip();
    context.globalAlpha *= 0.62;
    for (const name of GROUPS) {
      const [start, end] = [this.data.clouds[name][from], this.data.clouds[name][to]];
      context.fillStyle = this.data.colours[name];
      for (let i = 0; i < start.length; i += 2) {
        const px = left + side / 2 + (mix(start[i], end[i]) - cx) * scale * factor;
        const py = top + side / 2 - (mix(start[i + 1], end[i + 1]) - cy) * scale * factor;
        sign(context, name, px, py, 0.7);
      }
    }
    context.restore();
  }

  // Middle and reach of nearly all points of a measurement.
  extent(place) {
    if (!this.extents[place]) {
      const all = GROUPS.flatMap((name) => this.data.clouds[name][place]);
      const [xs, ys] = [0, 1].map((odd) => all.filter((_, i) => i % 2 === odd).sort((p, q) => p - q));
      const at = (list, share) => list[Math.round(share * (list.length - 1))];
      const spans = [xs, ys].map((list) => at(list, 0.98) - at(list, 0.02));
      const middles = [xs, ys].map((list) => (at(list, 0.98) + at(list, 0.02)) / 2);
      this.extents[place] = [...middles, Math.max(...spans, LEAST) * 0.6];
    }
    return this.extents[place];
  }
}

function enlarged(factor) {
  return "enlarged × " + (factor === null ? "∞" : Number(factor.toPrecision(2)).toLocaleString("en"));
}

// One image: a square, a circle or a triangle, so that groups differ in more than colour.
function sign(context, name, x, y, size) {
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
