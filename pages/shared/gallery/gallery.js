// Pictures that are chosen by a click. Names are text: they never become markup.
const SIGNS = { accepted: "✓", rejected: "✕" };

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".gallery");
  if (!root || !data) return;
  for (const kind of ["normal", "anomalous"]) root.style.setProperty(`--${kind}`, data.colours[kind]);
  root.style.setProperty("--side", `${data.side}px`);
  const tiles = root.querySelector(".tiles");
  tiles.setAttribute("aria-label", data.label);
  const focused = tiles.getRootNode().activeElement?.dataset.number;
  tiles.replaceChildren(...data.tiles.map((tile) => tileOf(tile, data.chosen, setTriggerValue)));
  if (focused !== undefined) tiles.querySelector(`[data-number="${focused}"]`)?.focus({ preventScroll: true });
  root.querySelector(".legend").replaceChildren(...legend(data.tiles));
}

function tileOf(tile, chosen, setTriggerValue) {
  const button = element("button", tile.truth);
  button.type = "button";
  button.dataset.number = tile.number;
  button.title = tile.name;
  button.setAttribute("aria-pressed", String(tile.number === chosen));
  button.setAttribute("aria-label", [tile.name, tile.truth, tile.verdict, tile.note].filter(Boolean).join(", "));
  const picture = tile.picture ? element("img", "picture") : element("span", "picture blank", "cannot be read");
  if (tile.picture) Object.assign(picture, { src: tile.picture, alt: "", draggable: false });
  button.append(picture);
  if (tile.verdict) button.append(element("span", `badge ${tile.verdict}`, SIGNS[tile.verdict]));
  if (tile.note) button.append(element("span", "note", tile.note));
  button.onclick = () => setTriggerValue("clicked", tile.number);
  return button;
}

function legend(tiles) {
  const keys = [];
  for (const truth of ["normal", "anomalous"]) {
    if (tiles.some((tile) => tile.truth === truth)) keys.push(key(element("span", `frame ${truth}`), `frame: in truth ${truth}`));
  }
  for (const [verdict, sign] of Object.entries(SIGNS)) {
    if (tiles.some((tile) => tile.verdict === verdict)) keys.push(key(element("span", `sign ${verdict}`, sign), verdict));
  }
  return keys;
}

function key(mark, words) {
  const made = element("span", "key");
  mark.setAttribute("aria-hidden", "true");
  made.append(mark, words);
  return made;
}

function element(name, kind, text = "") {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = text;
  return made;
}
