// What boards to draw on have in common: a picture, tools, a pointer, and a state that each finished mark sends.
const boards = new WeakMap();

// A component whose element `selector` is a board of class `Kind`, which sends its marks as the state `state`.
function drawnOn(selector, Kind, state) {
  return ({ data, parentElement, setStateValue }) => {
    const root = parentElement.querySelector(selector);
    if (!root || !data) return;
    let board = boards.get(root);
    if (!board) boards.set(root, (board = new Kind(root)));
    board.send = (marks) => setStateValue(state, marks);
    board.show(data);
  };
}

class Board {
  constructor(root, tool) {
    this.root = root;
    this.find = (name) => root.querySelector(`.${name}`);
    this.paper = this.find("paper");
    this.drawing = null;
    this.tool = tool;
    this.picture = new Image();
    this.picture.onload = () => this.draw();
    for (const button of root.querySelectorAll("[data-tool]")) button.onclick = () => this.choose(button.dataset.tool);
    this.paper.onpointerdown = (event) => this.begin(event);
    this.paper.onpointermove = (event) => this.move(event);
    this.paper.onpointerup = () => this.end();
  }

  choose(tool) {
    this.tool = tool;
    for (const button of this.root.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    }
  }
}
