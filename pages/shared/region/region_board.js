// A photo on which people mark what counts. Each finished mark is sent to the server, which keeps the region.
const NEAR = 0.01; // a mark that is smaller, in shares of the photo, was a click

class RegionBoard extends Board {
  constructor(root) {
    super(root, "box");
    this.marks = { shapes: [], swapped: false };
    this.kept = new Image(); // the region of before, where no mark of now says another
    this.kept.onload = () => this.draw();
    this.find("undo").onclick = () => this.change({ ...this.marks, shapes: this.marks.shapes.slice(0, -1) });
    this.find("clear").onclick = () => this.change({ shapes: [], swapped: false });
    this.find("swap").onclick = () => this.change({ ...this.marks, swapped: !this.marks.swapped });
    this.find("numbers").onsubmit = (event) => this.typed(event);
    this.paper.onpointercancel = () => this.stop();
  }

  show(data) {
    if (this.photo !== data.photo || this.version !== data.version) {
      this.marks = { shapes: data.shapes, swapped: data.swapped };
      this.version = data.version;
    }
    if (this.photo !== data.photo) {
      this.photo = data.photo;
      Object.assign(this.paper, { width: data.width, height: data.height });
      this.picture.src = data.picture;
    }
    if (data.kept) this.kept.src = data.kept;
    else this.kept.removeAttribute("src");
    this.data = data;
    this.find("said").textContent = data.words;
    this.draw();
  }

  place(event) {
    const box = this.paper.getBoundingClientRect();
    const scale = Math.min(box.width / this.paper.width, box.height / this.paper.height); // as `object-fit` fits it
    const share = (at, side) => Math.min(Math.max(at / (side * scale), 0), 1);
    const top = (box.height - this.paper.height * scale) / 2;
    return [share(event.clientX - box.left, this.paper.width), share(event.clientY - box.top - top, this.paper.height)];
  }

  begin(event) {
    if (event.button) return;
    this.paper.setPointerCapture(event.pointerId);
    this.drawing = [this.place(event)];
  }

  move(event) {
    if (!this.drawing) return;
    const place = this.place(event);
    this.drawing = this.tool === "box" ? box(this.drawing[0], place) : [...this.drawing, place];
    this.draw();
  }

  stop() {
    this.drawing = null;
    this.draw();
  }

  end() {
    const shape = this.drawing ?? [];
    this.drawing = null;
    const [wide, high] = [0, 1].map((axis) => extent(shape.map((point) => point[axis])));
    if (shape.length > 2 && Math.min(wide, high) > NEAR) this.add(shape);
    else this.draw();
  }

  typed(event) {
    event.preventDefault();
    const [left, top, right, bottom] = ["left", "top", "right", "bottom"].map((name) => Number(event.target.elements[name].value) / 100);
    if (right > left && bottom > top) this.add(box([left, top], [right, bottom]));
    else this.find("said").textContent = "Right must be more than left, and bottom more than top.";
  }

  add(shape) {
    this.change({ ...this.marks, shapes: [...this.marks.shapes, shape] });
  }

  change(marks) {
    this.marks = marks;
    this.draw();
    this.send(marks);
  }

  draw() {
    const { shapes, swapped } = this.marks;
    const kept = !shapes.length && this.kept.complete && this.kept.naturalWidth > 0;
    this.find("undo").disabled = !shapes.length;
    this.find("swap").disabled = !shapes.length;
    this.find("swap").setAttribute("aria-pressed", String(swapped));
    this.find("clear").disabled = !shapes.length && !this.data?.kept;
    const ink = this.paper.getContext("2d");
    const { width, height } = this.paper;
    ink.clearRect(0, 0, width, height);
    if (this.picture.complete && this.picture.naturalWidth) ink.drawImage(this.picture, 0, 0, width, height);
    if (kept && !this.drawing) ink.drawImage(this.kept, 0, 0, width, height);
    const all = this.drawing ? [...shapes, this.drawing] : shapes;
    if (all.length) ink.drawImage(this.veil(all, swapped), 0, 0);
    for (const [colour, thick] of [["#fff", 5], ["#0b6e82", 2.5]]) {
      Object.assign(ink, { strokeStyle: colour, lineWidth: (thick * width) / 900, lineJoin: "round" });
      for (const shape of all) ink.stroke(path(shape, width, height));
    }
  }

  // What does not count, pale.
  veil(shapes, swapped) {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: this.paper.width, height: this.paper.height });
    const ink = canvas.getContext("2d");
    ink.fillStyle = "#fff";
    if (!swapped) ink.fillRect(0, 0, canvas.width, canvas.height);
    ink.globalCompositeOperation = swapped ? "source-over" : "destination-out";
    for (const shape of shapes) ink.fill(path(shape, canvas.width, canvas.height), "evenodd");
    ink.globalCompositeOperation = "source-in";
    ink.fillStyle = "rgba(255, 255, 255, 0.65)";
    ink.fillRect(0, 0, canvas.width, canvas.height);
    return canvas;
  }
}

function box([x, y], [right, bottom]) {
  return [[x, y], [right, y], [right, bottom], [x, bottom]];
}

function extent(values) {
  return values.length ? Math.max(...values) - Math.min(...values) : 0;
}

function path(shape, width, height) {
  const way = new Path2D();
  shape.forEach(([x, y], at) => (at ? way.lineTo(x * width, y * height) : way.moveTo(x * width, y * height)));
  way.closePath();
  return way;
}

export default drawnOn(".region", RegionBoard, "marks");
