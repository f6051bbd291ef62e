// A part to paint on. Each finished stroke is sent to the server, which paints it as well and answers with map and score.
class PaintBoard extends Board {
  constructor(root) {
    super(root, "line");
    this.strokes = [];
    this.find("undo").onclick = () => this.change(this.strokes.slice(0, -1));
    this.find("clear").onclick = () => this.change([]);
    this.find("example").onclick = () => this.change([...this.strokes, this.scratch()]);
    this.paper.onpointercancel = () => this.end();
  }

  show(data) {
    if (this.part !== data.part) {
      this.part = data.part;
      this.strokes = data.strokes;
      this.picture.src = data.picture;
      for (const canvas of [this.paper, this.find("copy")]) Object.assign(canvas, { width: data.width, height: data.height });
    }
    this.data = data;
    for (const kind of ["normal", "anomalous"]) this.root.style.setProperty(`--${kind}`, data.colours[kind]);
    this.answer();
    this.draw();
  }

  // What the server says, if it is about the strokes that are seen.
  answer() {
    const { data } = this;
    const current = data.count === this.strokes.length;
    this.root.classList.toggle("waiting", !current);
    if (!current) return;
    this.root.classList.toggle("rejected", data.rejected);
    const heat = this.find("heat");
    if (data.heat) heat.src = data.heat;
    else heat.removeAttribute("src");
    this.find("said").textContent = data.words;
    const share = (value) => `${100 * Math.min(Math.max(value / data.most, 0), 1)}%`;
    this.find("fill").style.width = share(data.score);
    this.find("before").style.left = share(data.before);
    this.find("line").hidden = data.threshold === null;
    if (data.threshold !== null) this.find("line").style.left = share(data.threshold);
  }

  brush(points) {
    const filled = this.tool === "blob";
    const width = filled ? 0.004 : Number(this.find("width").value) / 1000;
    return { points, colour: this.find("colour").value, width, filled };
  }

  scratch() {
    const turn = Math.random() * Math.PI;
    const [x, y] = [0.35 + 0.3 * Math.random(), 0.35 + 0.3 * Math.random()];
    const [dx, dy] = [0.22 * Math.cos(turn), 0.22 * Math.sin(turn)];
    return { ...this.brush([[x - dx, y - dy], [x + dx, y + dy]]), width: Number(this.find("width").value) / 1000, filled: false };
  }

  place(event) {
    const box = this.paper.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  begin(event) {
    if (event.button) return;
    this.paper.setPointerCapture(event.pointerId);
    this.drawing = this.brush([this.place(event)]);
    this.draw();
  }

  move(event) {
    if (!this.drawing) return;
    this.drawing.points.push(this.place(event));
    this.draw();
  }

  end() {
    if (!this.drawing) return;
    const stroke = this.drawing;
    this.drawing = null;
    this.change([...this.strokes, stroke]);
  }

  change(strokes) {
    this.strokes = strokes;
    this.root.classList.add("waiting");
    this.find("said").textContent = "comparing ...";
    this.draw();
    this.send(strokes);
  }

  draw() {
    this.find("undo").disabled = this.find("clear").disabled = !this.strokes.length;
    for (const canvas of [this.paper, this.find("copy")]) {
      const ink = canvas.getContext("2d");
      ink.clearRect(0, 0, canvas.width, canvas.height);
      if (this.picture.complete && this.picture.naturalWidth) ink.drawImage(this.picture, 0, 0, canvas.width, canvas.height);
      for (const stroke of [...this.strokes, ...(this.drawing ? [this.drawing] : [])]) paint(ink, stroke);
    }
  }
}

function paint(ink, stroke) {
  const { width, height } = ink.canvas;
  Object.assign(ink, { strokeStyle: stroke.colour, fillStyle: stroke.colour, lineCap: "round", lineJoin: "round" });
  ink.lineWidth = Math.max(1, stroke.width * Math.max(width, height));
  ink.beginPath();
  stroke.points.forEach(([x, y], at) => (at ? ink.lineTo(x * width, y * height) : ink.moveTo(x * width, y * height)));
  if (stroke.points.length === 1) ink.lineTo(stroke.points[0][0] * width + 0.01, stroke.points[0][1] * height);
  if (stroke.filled && stroke.points.length > 2) {
    ink.closePath();
    ink.fill();
  }
  ink.stroke();
}

export default drawnOn(".board", PaintBoard, "strokes");
