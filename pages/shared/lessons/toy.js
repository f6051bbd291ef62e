// Ten normal points and an odd one in a plane, and a network of four numbers: it maps every point by one matrix.
// Pulling is gradient descent on the mean squared distance of the normal points to their center, as in PANDA, Sec. 3.
const NORMALS = [[-62, 8], [-44, -10], [-30, 14], [-18, -6], [-4, 10], [8, -12], [22, 4], [36, -8], [50, 12], [66, -4]];
const ODD = [18, 74];
const STEP = 0.45; // of the way that the steepest direction goes in one pull
const BLUR = 2.5; // below this the network cannot tell points apart: it computes with so many digits and no more
const EVERYWHERE = 0.6; // of the pull goes in every direction alike
const ALIKE = 1.3; // times as far: nobody can tell any more
const toys = new WeakMap();

export default function (component) {
  const root = component.parentElement.querySelector(".toy");
  if (!root || toys.has(root)) return;
  toys.set(root, new Toy(root));
}

class Toy {
  constructor(root) {
    this.root = root;
    this.field = root.querySelector(".field");
    root.querySelector(".pull").onclick = () => this.pull();
    root.querySelector(".again").onclick = () => this.restart();
    this.restart();
  }

  restart() {
    this.points = [...NORMALS, ODD].map((point) => [...point]);
    this.matrix = [1, 0, 0, 1];
    this.pulls = 0;
    this.first = this.ratio();
    this.draw();
  }

  center() {
    const normals = this.points.slice(0, -1);
    return [0, 1].map((axis) => normals.reduce((sum, point) => sum + point[axis], 0) / normals.length);
  }

  // Where the network puts a point: about the center, which stays where it is.
  seen([x, y]) {
    const [cx, cy] = this.center();
    const [a, b, c, d] = this.matrix;
    return [cx + a * (x - cx) + b * (y - cy), cy + c * (x - cx) + d * (y - cy)];
  }

  // One step: the matrix loses most in the direction in which normal points differ most, and a little in every other.
  pull() {
    const [cx, cy] = this.center();
    const away = this.points.slice(0, -1).map(([x, y]) => [x - cx, y - cy]);
    const mean = (f) => away.reduce((sum, point) => sum + f(point), 0) / away.length;
    const [xx, xy, yy] = [mean(([x]) => x * x), mean(([x, y]) => x * y), mean(([, y]) => y * y)];
    const trace = xx + yy || 1;
    const [p, q, r] = [xx / trace + EVERYWHERE, xy / trace, yy / trace + EVERYWHERE].map((value) => STEP * value);
    const [a, b, c, d] = this.matrix;
    this.matrix = [a - a * p - b * q, b - a * q - b * r, c - c * p - d * q, d - c * q - d * r];
    this.pulls += 1;
    this.draw();
  }

  // How many times as far from the center as a normal point the odd one lies.
  ratio() {
    const center = this.center();
    const far = (point) => Math.hypot(this.seen(point)[0] - center[0], this.seen(point)[1] - center[1], BLUR);
    const normals = this.points.slice(0, -1).map(far);
    return (far(this.points.at(-1)) * normals.length) / normals.reduce((sum, value) => sum + value, 0);
  }

  draw() {
    const center = this.center();
    const ratio = this.ratio();
    const shape = (point, index) => {
      const [x, y] = this.seen(point);
      const last = index === this.points.length - 1;
      const name = last ? "the odd one" : `normal point ${index + 1}`;
      const common = `class="point" tabindex="0" role="button" aria-label="${name}" data-index="${index}"`;
      return last
        ? `<rect ${common} x="${x - 4.5}" y="${y - 4.5}" width="9" height="9" fill="#D55E00"/>`
        : `<circle ${common} cx="${x}" cy="${y}" r="4.5" fill="#1C83C2"/>`;
    };
    this.field.innerHTML = // built of numbers and fixed words alone
      `<rect class="frame" x="-159" y="-109" width="318" height="218" rx="8"/>` +
      `<path class="center" d="M${center[0] - 7} ${center[1]}h14M${center[0]} ${center[1] - 7}v14"/>` +
      this.points.map(shape).join("");
    for (const element of this.field.querySelectorAll(".point")) this.equip(element);
    this.root.dataset.ratio = ratio.toFixed(3);
    this.root.querySelector(".told").textContent = this.words(ratio);
    this.field.setAttribute("aria-label", `Ten round normal points and a square odd one. ${this.words(ratio)}`);
  }

  words(ratio) {
    const far = `The odd one lies ${ratio.toFixed(1)} times as far from the center as a normal point`;
    const times = `${this.pulls} ${this.pulls === 1 ? "pull" : "pulls"}`;
    if (!this.pulls) return `${far}.`;
    if (ratio < ALIKE) return `${times}: all are in one place. ${far}: nobody can find it any more. That is collapse.`;
    if (ratio > this.first) return `${times}: ${far}, more than at the start. All are drawn in, the normal ones faster.`;
    return `${times}: ${far}.`;
  }

  equip(element) {
    const index = Number(element.dataset.index);
    element.onpointerdown = (event) => {
      event.preventDefault();
      this.field.setPointerCapture(event.pointerId);
      this.field.onpointermove = (moved) => this.place(index, this.under(moved));
      this.field.onpointerup = this.field.onpointercancel = () => { this.field.onpointermove = null; };
    };
    element.onkeydown = (event) => {
      const [dx, dy] = { ArrowLeft: [-6, 0], ArrowRight: [6, 0], ArrowUp: [0, -6], ArrowDown: [0, 6] }[event.key] ?? [0, 0];
      if (!dx && !dy) return;
      event.preventDefault();
      const [x, y] = this.seen(this.points[index]);
      this.place(index, [x + dx, y + dy]);
      this.field.querySelector(`[data-index="${index}"]`).focus();
    };
  }

  under(event) {
    const box = this.field.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * 320 - 160, ((event.clientY - box.top) / box.height) * 220 - 110];
  }

  // Puts a point where somebody wants to see it: its own place is what the network maps there. Pulls are then undone.
  place(index, [x, y]) {
    if (this.pulls) {
      this.points = this.points.map((point) => this.seen(point));
      this.matrix = [1, 0, 0, 1];
      this.pulls = 0;
    }
    this.points[index] = [Math.min(Math.max(x, -150), 150), Math.min(Math.max(y, -100), 100)];
    this.first = this.ratio();
    this.draw();
  }
}
