// Charts beside the cloud: curves with a marker, the histogram of scores, the spectrum.
function axes(svg, title) {
  const width = svg.clientWidth || 300;
  const height = svg.clientHeight || 160;
  const k = enlargement();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-label", title);
  return { k, width, height, left: 40 * k, right: width - 10, top: 24 * k, bottom: height - 22 * k };
}

// How much larger than usual the page writes: what is drawn grows with it.
function enlargement() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
}

// Ticks are written as they are: 0.75 is no 0.8.
function grid(box, ticks, y, digits) {
  const exact = (places) => ticks.every((tick) => Math.abs(Number(tick.toFixed(places)) - tick) < 1e-9);
  const places = [digits, digits + 1, digits + 2].find(exact) ?? digits;
  return ticks.map((tick) =>
    `<line class="grid" x1="${box.left}" x2="${box.right}" y1="${y(tick)}" y2="${y(tick)}"/>` +
    `<text class="faint" x="${box.left - 6}" y="${y(tick) + 4 * box.k}" text-anchor="end">${tick.toFixed(places)}</text>`).join("");
}

// Text that stands inside of markup: a run may be called anything.
const plain = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

// A name in lines of about sixteen letters, at most three.
function wrapped(name) {
  const lines = [""];
  for (const word of name.split(" ")) {
    const last = lines[lines.length - 1];
    if (last && last.length + word.length > 16 && lines.length < 3) lines.push(word);
    else lines[lines.length - 1] = last ? last + " " + word : word;
  }
  return lines;
}

class Chart {
  // levels: values that do not change over the steps, each with its name.
  constructor(svg, data, title, range, digits, lines, marks = [], atEnds = lines.length > 2, levels = []) {
    Object.assign(this, { svg, data, lines: lines.filter((line) => line.values.some((value) => value !== null)) });
    for (const line of this.lines) line.until = line.values.findLastIndex((value) => value !== null);
    for (const [i, line] of this.lines.entries()) {
      const alike = (other) => other.name && other.values.every((value, at) => value === line.values[at]);
      line.above = this.lines.slice(i + 1).filter(alike).length; // lines that lie on this one: it is drawn wider, to be seen under them
      line.equal = this.lines.slice(0, i).some(alike);
    }
    const box = axes(svg, [title + " over optimiser steps", ...levels.map((level) => level.name)].join("; "));
    this.k = box.k;
    const end = data.end || 1; // the newest step; while a run computes, the last one that is planned
    const named = atEnds && this.lines.length && this.lines[0].name; // names that follow three lines would cover one another
    for (const line of named ? this.lines : []) line.words = wrapped((line.equal ? "= " : "") + line.name);
    if (named) box.right -= (26 + 7 * Math.max(...this.lines.flatMap((line) => line.words.map((words) => words.length)))) * box.k;
    this.bottom = box.bottom;
    this.x = (step) => box.left + ((box.right - box.left) * step) / end;
    this.y = (value) => box.bottom - ((box.bottom - box.top) * (Math.min(Math.max(value, range[0]), range[1]) - range[0])) / (range[1] - range[0]);
    let markup = `<text x="0" y="${12 * box.k}">${title}</text>`;
    markup += grid(box, [range[0], (range[0] + range[1]) / 2, range[1]], this.y, digits);
    markup += `<text class="faint" x="${box.left}" y="${box.height - 5}">unadapted</text>`;
    markup += `<text class="faint" x="${box.right}" y="${box.height - 5}" text-anchor="end">step ${end}</text>`;
    const first = this.lines[0];
    if (first && first.low) markup += `<path d="${this.band(first)}" fill="${first.colour}" opacity="0.14"/>`;
    const marked = marks.map(([name]) => data.jumps[name]).filter((place) => place !== null && place !== undefined);
    const levelled = levels.map((level) => this.level(box, level, marked.map((place) => this.x(data.steps[place]))));
    markup += levelled.map(([line]) => line).join("");
    marks.forEach(([name, label, dash], i) => {
      const place = data.jumps[name];
      if (place === null || place === undefined) return;
      const x = this.x(data.steps[place]);
      markup += `<line class="mark" x1="${x}" x2="${x}" y1="${box.top}" y2="${box.bottom}" stroke-dasharray="${dash}"/>`;
      const follows = marked.some((at) => this.x(data.steps[at]) > x && this.x(data.steps[at]) < x + 50 * box.k); // it would cross the word
      const late = x > box.width / 2 || (follows && x - box.left > 50 * box.k);
      const y = range[0] ? box.bottom - (4 + 14 * i) * box.k : box.top + (10 + 14 * i) * box.k; // curves that may fall to 0 end at the bottom
      markup += `<text class="faint" x="${late ? x - 3 : x + 3}" y="${y}" text-anchor="${late ? "end" : "start"}">${label}</text>`;
    });
    markup += `<line class="here" y1="${box.top}" y2="${box.bottom}"/>`;
    markup += levelled.map(([, name]) => name).join(""); // over lines that would cross it
    this.lines.forEach((line, index) => {
      markup += `<path class="future" d="${this.path(line, data.steps.length - 1)}" fill="none" stroke="${line.colour}" stroke-width="2"/>`;
      markup += `<path class="past${index}" fill="none" stroke="${line.colour}" stroke-width="${2.4 + 5 * line.above}" stroke-dasharray="${line.above ? "" : line.dash}"/>`;
      markup += line.shape === "square"
        ? `<rect class="dot${index}" width="${10 + 8 * line.above}" height="${10 + 8 * line.above}" x="${-5 - 4 * line.above}" y="${-5 - 4 * line.above}" fill="${line.colour}"/>`
        : `<circle class="dot${index}" r="${5.5 + 4 * line.above}" fill="${line.colour}"/>`;
      if (line.name && !named) markup += `<text class="name${index} faint">${line.name}</text>`;
    });
    if (named) markup += this.names(box);
    if (!this.lines.length) markup += `<text class="faint" x="${box.left + 8}" y="${box.top + 18 * box.k}">undefined without both kinds of test images</text>`;
    svg.innerHTML = markup; // built of numbers, fixed words, and names made plain
    this.here = svg.querySelector(".here");
    this.parts = this.lines.map((_, index) => ["past", "dot", "name"].map((name) => svg.querySelector("." + name + index)));
  }

  // The name of each line at its end, below those that end higher.
  names(box) {
    const tall = (end) => 14 * box.k * end.line.words.length;
    const ends = this.lines.map((line) => ({ line, y: this.y(line.values[line.until]) + 4 * box.k })).sort((a, b) => a.y - b.y);
    ends.forEach((end, i) => { if (i) end.y = Math.max(end.y, ends[i - 1].y + tall(ends[i - 1])); });
    let lowest = box.height;
    for (const end of [...ends].reverse()) {
      end.y = Math.min(end.y, lowest - tall(end) + 10 * box.k);
      lowest = end.y - 10 * box.k;
    }
    const x = box.right + 6;
    return ends.map(({ line, y }) => `<text x="${x}" y="${y}"><tspan fill="${line.colour}">${line.shape === "square" ? "■" : "●"}</tspan> ` +
      line.words.map((words, i) => `<tspan class="faint"${i ? ` x="${x + 14 * box.k}" dy="${14 * box.k}"` : ""}>${plain(words)}</tspan>`).join("") + "</text>").join("");
  }

  // A level line and its name: at an end where no mark, at x in `marked`, crosses it, and where the curves are farthest.
  level(box, { value, name }, marked) {
    const y = this.y(value);
    const wide = 6.2 * box.k * name.length;
    const places = ["start", "end"].flatMap((anchor) => [y - 6, y + 15 * box.k].map((height) => ({ anchor, height })));
    const free = places.filter(({ height }) => height - 10 * box.k > box.top - 12 * box.k && height < box.bottom);
    const room = ({ anchor, height }) => Math.min(...this.lines.flatMap((line) => this.data.steps.map((step, i) => {
      const x = this.x(step);
      const under = anchor === "start" ? x < box.left + wide : x > box.right - wide;
      return under && line.values[i] !== null ? Math.abs(this.y(line.values[i]) - (height - 5 * box.k)) : Infinity;
    })), 1e6);
    const within = (x, anchor) => (anchor === "start" ? x > box.left && x < box.left + wide : x > box.right - wide && x < box.right - 4);
    const clear = free.filter(({ anchor }) => !marked.some((x) => within(x, anchor)));
    const candidates = [clear, free, places].find((list) => list.length);
    const { anchor, height } = candidates.reduce((best, place) => (room(place) > room(best) ? place : best));
    return [`<line class="level" x1="${box.left}" x2="${box.right}" y1="${y}" y2="${y}"/>`,
      `<text class="named-level" x="${anchor === "start" ? box.left + 4 : box.right - 4}" y="${height}" text-anchor="${anchor}">${plain(name)}</text>`];
  }

  band(line) {
    const { data } = this;
    const known = data.steps.map((_, i) => i).filter((i) => line.low[i] !== null && line.high[i] !== null);
    const edge = (values, list) => list.map((i) => `${this.x(data.steps[i]).toFixed(1)} ${this.y(values[i]).toFixed(1)}`);
    return known.length ? "M" + [...edge(line.high, known), ...edge(line.low, [...known].reverse())].join("L") + "Z" : "";
  }

  path(line, upTo) {
    const points = [];
    for (let i = 0; i <= Math.min(Math.floor(upTo), line.until); i++) points.push([this.data.steps[i], line.values[i] ?? 0]);
    points.push(this.at(line, upTo));
    return points.map(([s, v], i) => `${i ? "L" : "M"}${this.x(s).toFixed(1)} ${this.y(v).toFixed(1)}`).join("");
  }

  at(line, wanted) {
    const position = Math.min(wanted, line.until); // a run that still computes ends earlier
    const from = Math.floor(position);
    const to = Math.min(from + 1, line.until);
    const mix = (list) => (list[from] ?? 0) + ((list[to] ?? 0) - (list[from] ?? 0)) * (position - from);
    return [mix(this.data.steps), mix(line.values)];
  }

  draw(position) {
    const { steps } = this.data;
    const from = Math.floor(position);
    const there = this.x(steps[from] + ((steps[from + 1] ?? steps[from]) - steps[from]) * (position - from));
    for (const end of ["x1", "x2"]) this.here.setAttribute(end, there);
    this.lines.forEach((line, index) => {
      const [past, dot, name] = this.parts[index];
      past.setAttribute("d", this.path(line, position));
      const [step, value] = this.at(line, position);
      const [x, y] = [this.x(step), this.y(value)];
      dot.setAttribute("transform", `translate(${x} ${y})`);
      if (!name) return;
      const right = x > this.x(this.data.steps[this.data.steps.length - 1]) * 0.7;
      name.setAttribute("x", right ? x - 9 : x + 9);
      name.setAttribute("text-anchor", right ? "end" : "start");
      name.setAttribute("y", index === 0 ? y - 9 : Math.min(y + 18 * this.k, this.bottom - 4));
    });
  }
}

const BINS = 36;
const ROOM = 44; // above the highest bar: the word "threshold", and two names

class Histogram {
  constructor(svg, data) {
    Object.assign(this, { svg, data, box: axes(svg, "Histogram of scores") });
    const { box } = this;
    const bars = (name, style) => Array.from({ length: BINS }, () => `<rect class="${name}" ${style}/>`).join("");
    svg.innerHTML = `<text x="0" y="${12 * box.k}">Scores, 1 = a held-out normal image</text><text class="overlapped faint" x="${box.right}" y="${box.top + 10 * box.k}" text-anchor="end"></text>` +
      `<line class="grid" x1="${box.left}" x2="${box.right}" y1="${box.bottom}" y2="${box.bottom}"/>` +
      bars("normal", `fill="${data.colours.normal}" opacity="0.65"`) + bars("anomalous", `fill="${data.colours.anomalous}" opacity="0.65"`) +
      bars("overlap", "") + `<line class="mark limit" stroke-dasharray="6 3" y1="${box.top + 14 * box.k}" y2="${box.bottom}"/><text class="faint named" y="${box.top + 10 * box.k}">threshold</text>` +
      ["normal", "anomalous"].map((name) => `<text class="group ${name}"><tspan fill="${data.colours[name]}">■</tspan> <tspan class="faint">${name}</tspan></text>`).join("") +
      `<text class="faint low" x="${box.left}" y="${box.height - 5}"></text><text class="faint high" x="${box.right}" y="${box.height - 5}" text-anchor="end"></text>`;
    this.bars = Object.fromEntries(["normal", "anomalous", "overlap"].map((name) => [name, [...svg.querySelectorAll("rect." + name)]]));
  }

  // The name of each group above its highest bar, away from the other's; names that would meet stand one above the other,
  // and none is crossed by the threshold.
  name(groups, tallest, wide, line) {
    const { box, svg } = this;
    const peaks = groups.map(([heights, members]) => {
      const at = heights.indexOf(Math.max(...heights));
      return { known: members.length > 0, x: box.left + (at + 0.5) * wide, y: box.bottom - ((box.bottom - box.top - ROOM * box.k) * heights[at]) / tallest - 5 };
    });
    const near = peaks.every((peak) => peak.known) && Math.abs(peaks[0].x - peaks[1].x) < 150 * box.k && Math.abs(peaks[0].y - peaks[1].y) < 15 * box.k;
    const [upper, lower] = peaks[0].y <= peaks[1].y ? peaks : [...peaks].reverse();
    if (near) upper.y = lower.y - 15 * box.k;
    peaks.forEach((peak, i) => {
      const text = svg.querySelector(".group." + (i ? "anomalous" : "normal"));
      text.style.display = peak.known ? "" : "none";
      const leftwards = peak.x - box.left > 90 * box.k && (peak.x < peaks[1 - i].x || box.right - peak.x < 90 * box.k);
      const [end, x] = this.clear(leftwards, peak.x + (leftwards ? wide / 2 : -wide / 2), (i ? 88 : 66) * box.k, line);
      text.setAttribute("text-anchor", end ? "end" : "start");
      text.setAttribute("x", x);
      text.setAttribute("y", Math.max(peak.y, box.top + 24 * box.k));
    });
  }

  // Whether a name so wide ends, or else begins, at which x: where the threshold would cross it, on that side of the line
  // on which its peak lies, or on the other where there is no room.
  clear(ends, x, width, line) {
    const from = ends ? x - width : x;
    if (line === null || Math.abs(line - from - width / 2) > width / 2 + 4) return [ends, x];
    const leftwards = Math.sign(x - line) <= 0 || this.box.right - line < width + 6;
    return leftwards && line - this.box.left > width + 6 ? [true, line - 6] : [false, line + 6];
  }

  draw(_, place, { autoscale }) {
    if (this.drawn === place + "/" + autoscale) return;
    this.drawn = place + "/" + autoscale;
    const { box, data, svg } = this;
    const [normal, anomalous] = [data.scores.normal[place], data.scores.anomalous[place]];
    const own = [...normal, ...anomalous];
    const span = own.length ? [Math.min(...own), Math.max(...own)] : [0, 1];
    const [low, high] = autoscale && span[1] > span[0] ? span : data.score_range;
    const [a, b] = [shares(normal, low, high), shares(anomalous, low, high)];
    const tallest = Math.max(...a, ...b, 1e-9);
    const wide = (box.right - box.left) / BINS;
    const heights = { normal: a, anomalous: b, overlap: a.map((value, i) => Math.min(value, b[i])) };
    for (const [name, values] of Object.entries(heights)) {
      values.forEach((value, i) => {
        const tall = ((box.bottom - box.top - ROOM * box.k) * value) / tallest;
        const bar = this.bars[name][i];
        bar.setAttribute("x", box.left + i * wide);
        bar.setAttribute("y", box.bottom - tall);
        bar.setAttribute("width", Math.max(wide - 0.6, 0.5));
        bar.setAttribute("height", tall);
      });
    }
    const limit = data.thresholds[place];
    const x = limit === null ? null : box.left + ((box.right - box.left) * Math.min(Math.max((limit - low) / (high - low), 0), 1));
    this.name([[a, normal], [b, anomalous]], tallest, wide, x);
    const overlap = both(normal, anomalous, span);
    svg.querySelector(".overlapped").textContent = overlap === null ? "" : `overlap ${Math.round(100 * overlap)} %`;
    svg.querySelector(".low").textContent = low.toPrecision(2);
    svg.querySelector(".high").textContent = high.toPrecision(2);
    const [line, named] = [svg.querySelector(".limit"), svg.querySelector(".named")];
    for (const element of [line, named]) element.style.display = x === null ? "none" : "";
    if (x !== null) {
      for (const end of ["x1", "x2"]) line.setAttribute(end, x);
      const late = x > box.right - 170 * box.k; // the overlap is told in that corner
      named.setAttribute("x", late ? Math.min(x - 4, box.right - 92 * box.k) : x + 4);
      named.setAttribute("text-anchor", late ? "end" : "start");
    }
    svg.setAttribute("aria-label", `Scores at step ${data.steps[place]}: normal around ${middle(normal)}, anomalous around ${middle(anomalous)}` +
      (overlap === null ? "." : `, ${Math.round(100 * overlap)} % of the two groups overlap.`));
  }
}

function shares(values, low, high) {
  const counts = new Array(BINS).fill(0);
  for (const value of values) counts[Math.min(Math.max(Math.floor((BINS * (value - low)) / (high - low)), 0), BINS - 1)] += 1;
  return counts.map((count) => count / Math.max(values.length, 1));
}

// The share that two groups have in common, on the scale of this step alone: it does not depend on the axis shown.
function both(normal, anomalous, [low, high]) {
  if (!normal.length || !anomalous.length) return null;
  if (high <= low) return 1;
  const [a, b] = [shares(normal, low, high), shares(anomalous, low, high)];
  return a.reduce((sum, value, i) => sum + Math.min(value, b[i]), 0);
}

function middle(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)].toPrecision(2) : "nothing";
}

class Spectrum {
  constructor(svg, data) {
    Object.assign(this, { svg, data, box: axes(svg, "Spectrum of the training features") });
    const { box } = this;
    const count = Math.max(data.spectrum[0].length, 1);
    const top = Math.max(...data.spectrum.flat(), 1e-9);
    this.y = (value) => box.bottom - ((box.bottom - box.top - 14 * box.k) * value) / top;
    const wide = (box.right - box.left) / count;
    const bar = (name, value, i) => `<rect class="${name}" x="${box.left + i * wide + 1}" width="${Math.max(wide - 2, 1)}" y="${this.y(value)}" height="${box.bottom - this.y(value)}"/>`;
    svg.innerHTML = `<text x="0" y="${12 * box.k}">Spread in each direction, %</text><text class="rank faint" x="${box.right}" y="${box.top + 10 * box.k}" text-anchor="end"></text>` +
      grid(box, [0, top], this.y, 0) + data.spectrum[0].map((value, i) => bar("share", value, i)).join("") + data.spectrum[0].map((value, i) => bar("outline", value, i)).join("") +
      `<text class="faint" x="${box.left}" y="${box.height - 5}">strongest</text><text class="faint" x="${box.right}" y="${box.height - 5}" text-anchor="end">dashed: step 0</text>`;
    this.bars = [...svg.querySelectorAll("rect.share")];
    for (const one of this.bars) one.setAttribute("fill", data.colours.train);
  }

  draw(_, place) {
    if (this.drawn === place) return;
    this.drawn = place;
    const { data, box } = this;
    this.bars.forEach((one, i) => {
      const y = this.y(data.spectrum[place][i] ?? 0);
      one.setAttribute("y", y);
      one.setAttribute("height", Math.max(box.bottom - y, 0));
    });
    const text = `effective rank ${data.effective_rank[place]}, was ${data.effective_rank[0]}`;
    this.svg.querySelector(".rank").textContent = text;
    this.svg.setAttribute("aria-label", `How the spread of the training features is shared among directions at step ${data.steps[place]}: ${text}.`);
  }
}
