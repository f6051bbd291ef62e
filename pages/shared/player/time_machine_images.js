// The strip of twelve images in the order of their scores, and the heatmap of the one that is chosen there.
const HEAT = 0.7; // how much of the picture the colours hide, as on the Segment page
const FINE = 128; // points on a side of the heatmap, between which the browser smooths

class Ranking {
  // choose: called with an image when one is chosen; without it, images are no buttons.
  constructor(list, data, choose) {
    Object.assign(this, { list, data });
    list.replaceChildren();
    list.closest("figure").querySelector(".absent").hidden = data.twelve.every((image) => image.picture);
    this.items = data.twelve.map((image, index) => {
      const item = document.createElement("li");
      if (image.anomalous) item.className = "odd";
      const picture = document.createElement(image.picture ? "img" : "span");
      if (image.picture) [picture.src, picture.alt] = [image.picture, image.name];
      else [picture.className, picture.textContent] = ["blank", image.anomalous ? "A" : "N"];
      picture.title = image.name;
      const value = document.createElement("span");
      const holder = choose ? document.createElement("button") : item;
      if (choose) {
        holder.type = "button";
        holder.onclick = () => choose(index);
        item.append(holder);
      }
      holder.append(picture, value);
      list.append(item);
      return { item, holder, value };
    });
    this.room = choose ? 30 : 24; // pixels below a picture: the score, and the edge of a button
  }

  press(chosen) {
    this.items.forEach(({ holder }, image) => holder.setAttribute("aria-pressed", image === chosen));
  }

  prepare() {
    const count = this.items.length;
    if (!count) return;
    const width = this.list.clientWidth;
    this.columns = width < 560 ? Math.ceil(count / 2) : count;
    this.wide = width / this.columns;
    this.high = Math.min(this.wide, 56 * enlargement()) + this.room * enlargement();
    this.list.style.setProperty("--wide", this.wide + "px");
    this.list.style.setProperty("--tall", this.high * Math.ceil(count / this.columns) + "px");
  }

  draw(place) {
    if (!this.items.length || !this.wide) return;
    const scores = this.data.twelve_scores[place];
    const order = scores.map((_, i) => i).sort((a, b) => scores[a] - scores[b]);
    const rejected = this.data.twelve_rejected[place];
    order.forEach((image, rank) => {
      const [column, row] = [rank % this.columns, Math.floor(rank / this.columns)];
      const { item, value } = this.items[image];
      item.style.transform = `translate(${column * this.wide}px, ${row * this.high}px)`;
      value.textContent = scores[image].toFixed(2) + (rejected[image] ? " !" : "");
    });
    const wrong = order.filter((image, rank) => this.data.twelve[image].anomalous !== rank >= order.length - this.data.twelve.filter((one) => one.anomalous).length).length / 2;
    const label = `Order of ${order.length} test images by score at step ${this.data.steps[place]}: ${Math.floor(wrong)} anomalies among the normal images. An exclamation mark: above the threshold.`;
    if (this.list.getAttribute("aria-label") !== label) this.list.setAttribute("aria-label", label);
  }
}

class Heatmap {
  // again: called when a picture has been decoded and all is to be drawn once more.
  constructor(figure, data, again) {
    Object.assign(this, { figure, data, heat: data.heat, canvas: figure.querySelector("canvas") });
    this.maps = this.heat.maps.map((text) => text && bytes(text));
    this.colours = bytes(this.heat.colours);
    this.pictures = this.heat.pictures.map((source) => {
      if (!source) return null;
      const picture = new Image();
      picture.onload = again;
      picture.src = source;
      return picture;
    });
    this.fine = Object.assign(document.createElement("canvas"), { width: FINE, height: FINE });
    const stops = Array.from({ length: 17 }, (_, i) => `rgba(${this.colour(Math.round((255 * i) / 16)).join(", ")})`);
    figure.querySelector(".bar").style.backgroundImage = `linear-gradient(to right, ${stops.join(", ")})`;
    for (const mark of figure.querySelectorAll(".limit")) mark.hidden = !this.heat.calibrated;
    this.chosen = data.twelve.length - 1; // the last is the anomaly with the highest score at step 0
  }

  colour(level) {
    const [red, green, blue, opacity] = this.colours.subarray(4 * level, 4 * level + 4);
    return [red, green, blue, opacity / 255];
  }

  prepare() {
    const scale = window.devicePixelRatio || 1;
    this.size = this.canvas.clientWidth;
    this.canvas.width = this.canvas.height = Math.round(this.size * scale);
    this.canvas.getContext("2d").setTransform(scale, 0, 0, scale, 0, 0);
    this.drawn = undefined;
  }

  draw(position, place) {
    if (!this.size) return;
    const picture = this.pictures[this.chosen];
    const ready = picture && picture.complete && picture.naturalWidth > 0;
    const now = [position, this.chosen, ready].join("/");
    if (this.drawn === now) return;
    this.drawn = now;
    const { size, data } = this;
    const context = this.canvas.getContext("2d");
    const [wide, tall] = ready ? [picture.naturalWidth, picture.naturalHeight] : [1, 1];
    const part = size / Math.max(wide, tall);
    const box = [(size - wide * part) / 2, (size - tall * part) / 2, wide * part, tall * part];
    context.clearRect(0, 0, size, size);
    if (ready) context.drawImage(picture, ...box);
    else {
      context.globalAlpha = 0.35;
      context.fillStyle = data.colours.mark;
      context.fillRect(...box);
    }
    const values = this.values(position);
    if (values) {
      context.globalAlpha = HEAT;
      this.paint(values);
      context.drawImage(this.fine, ...box);
    }
    context.globalAlpha = 1;
    this.tell(place);
  }

  // The map of the chosen image: between two steps it glides, unless one of them has none.
  values(position) {
    const from = Math.floor(position);
    const [a, b] = [this.maps[from], this.maps[Math.min(from + 1, this.maps.length - 1)]];
    if (!a || !b) return this.one(this.maps[Math.round(position)]);
    const [first, second] = [this.one(a), this.one(b)];
    return Float32Array.from(first, (value, i) => value + (second[i] - value) * (position - from));
  }

  one(map) {
    const count = this.heat.side * this.heat.side;
    return map ? map.subarray(this.chosen * count, (this.chosen + 1) * count) : null;
  }

  // Values between the centers of the patches are mixed before they become colours: mixed colours lie on no scale.
  paint(values) {
    const { side } = this.heat;
    const context = this.fine.getContext("2d");
    const image = context.createImageData(FINE, FINE);
    const [points, inks] = [image, this.colours].map((part) => new Uint32Array((part.data ?? part).buffer));
    const along = Array.from({ length: FINE }, (_, i) => {
      const at = Math.min(Math.max(((i + 0.5) * side) / FINE - 0.5, 0), side - 1);
      return [Math.floor(at), Math.min(Math.floor(at) + 1, side - 1), at - Math.floor(at)];
    });
    along.forEach(([top, bottom, down], y) => along.forEach(([left, right, over], x) => {
      const upper = values[top * side + left] * (1 - over) + values[top * side + right] * over;
      const lower = values[bottom * side + left] * (1 - over) + values[bottom * side + right] * over;
      points[y * FINE + x] = inks[Math.round(upper + (lower - upper) * down)];
    }));
    context.putImageData(image, 0, 0);
  }

  tell(place) {
    const { heat, data, figure } = this;
    const peak = heat.peaks[place] ? heat.peaks[place][this.chosen] : null;
    const { name } = data.twelve[this.chosen];
    let words = "no map of this step";
    if (peak !== null) words = `highest ${peak.toFixed(2)}`;
    if (peak !== null && heat.calibrated) words += `; maps of normal images end at ${heat.middle.toFixed(2)}`;
    figure.querySelector(".named").textContent = name;
    figure.querySelector(".highest").textContent = words;
    const marker = figure.querySelector(".peak");
    marker.hidden = peak === null;
    const shown = Math.min(Math.max(peak, heat.low), heat.high);
    const share = shown < heat.middle ? (shown - heat.low) / (heat.middle - heat.low) : 1 + (shown - heat.middle) / (heat.high - heat.middle);
    marker.style.left = 50 * share + "%";
    this.canvas.setAttribute("aria-label", `Heatmap of ${name} at step ${data.steps[place]}: ${words}. 1 is as normal.`);
  }
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
