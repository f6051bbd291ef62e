// What time machine and duel share: a position among the measured steps, moved by buttons, the scrubber, keys and time.
const MILLISECONDS = 520; // a measurement, where the data does not say for how long it is shown

// Whoever extends it gives `prepare()`, after each change of size, and `draw()`.
class Player {
  constructor(root, data) {
    Object.assign(this, { root, data, last: data.steps.length - 1, playing: false });
    this.find = (name) => root.querySelector("." + name);
    for (const name of Object.keys(data.colours)) root.style.setProperty("--" + name, data.colours[name]);
    this.find("scrub").max = this.last;
    explain(this.find("legend"));
    this.find("play").onclick = () => (this.playing ? this.pause() : this.play());
    this.find("back").onclick = () => this.back();
    this.find("next").onclick = () => this.next();
    this.find("scrub").oninput = (event) => this.go(Number(event.target.value));
    this.moves = { ArrowLeft: () => this.back(), ArrowRight: () => this.next(), Home: () => this.go(0), End: () => this.go(this.last) };
  }

  // The step at a place; of a run that computes, also how many are planned.
  told(place) {
    const { steps, end } = this.data;
    return "step " + steps[place] + (end > steps[this.last] ? " of " + end : "");
  }

  follow() {
    this.observer = new ResizeObserver(() => { this.prepare(); this.draw(); });
    this.observer.observe(this.root);
    this.prepare();
  }

  leave() {
    cancelAnimationFrame(this.request);
    this.observer.disconnect();
  }

  play() {
    if (this.position >= this.last) this.position = 0;
    this.playing = true;
    this.before = undefined;
    cancelAnimationFrame(this.request);
    this.request = requestAnimationFrame((now) => this.tick(now));
    this.draw();
  }

  // The film stands still: by itself at its end, or because somebody paused it.
  rest() {
    this.playing = false;
    cancelAnimationFrame(this.request);
    this.draw();
  }

  pause() {
    this.rest();
  }

  go(position) {
    this.position = Math.min(Math.max(position, 0), this.last);
    this.pause();
  }

  back() {
    this.go(Math.ceil(this.position) - 1);
  }

  next() {
    this.go(Math.floor(this.position) + 1);
  }

  // Measurements a millisecond: each is shown from half-way before it to half-way after it.
  speed() {
    const place = Math.min(Math.round(this.position), this.last);
    const half = place === 0 || place === this.last ? 0.5 : 1;
    return half / (this.data.pace ? this.data.pace[place] : MILLISECONDS);
  }

  tick(now) {
    const gone = this.before === undefined ? 0 : Math.min(now - this.before, 100);
    this.before = now;
    this.position = Math.min(this.position + this.speed() * gone, this.last);
    if (this.position >= this.last) return this.rest();
    this.draw();
    this.request = requestAnimationFrame((next) => this.tick(next));
  }
}

function number(value) {
  return value === null || value === undefined ? "–" : value.toFixed(3);
}
