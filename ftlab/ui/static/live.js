/* The read-out of the curves: a line at the pointer in each drawing, and the values of every curve there.
   The drawings are replaced as the run goes on, so nothing is kept of them: values are read from their points. */
const nearest = (line, step) => {
  const points = line.points;
  if (!points.numberOfItems) return null;
  let low = 0, high = points.numberOfItems - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points.getItem(middle).x <= step) low = middle; else high = middle;
  }
  const a = points.getItem(low), b = points.getItem(high);
  return Math.abs(a.x - step) <= Math.abs(b.x - step) ? a : b;
};
const shown = {
  loss: (v) => v.toPrecision(3),
  accuracy: (v) => (100 * v).toFixed(1) + " %",
  rate: (v) => v.toPrecision(2),
};
let pointer = null;

const draw = () => {
  const root = element.querySelector(".ftlab-curves");
  if (!root) return;
  const readout = root.querySelector(".readout");
  root.querySelectorAll(".cursor").forEach((one) => one.remove());
  readout.hidden = true;
  if (!pointer) return;
  const frames = [...root.querySelectorAll(".frame")];
  const box = frames.map((one) => one.getBoundingClientRect())
    .find((one) => pointer.x >= one.left - 8 && pointer.x <= one.right + 8 && pointer.y >= one.top && pointer.y <= one.bottom);
  if (!box) return;
  const total = Number(root.dataset.steps), epoch = Number(root.dataset.perEpoch), margin = Number(root.dataset.margin);
  const across = (pointer.x - box.left) / box.width * (1 + 2 * margin) - margin;
  const step = Math.round(Math.min(1, Math.max(0, across)) * total);
  const share = (step / total + margin) / (1 + 2 * margin);
  const rows = [];
  let any = false;
  for (const figure of root.querySelectorAll(".panel")) {
    const frame = figure.querySelector(".frame");
    const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("x1", 100 * share + "%");
    cursor.setAttribute("x2", 100 * share + "%");
    cursor.setAttribute("y1", 0);
    cursor.setAttribute("y2", frame.getAttribute("height"));
    frame.append(cursor);
    const cells = [];
    for (const kind of ["train", "val", "rate"]) {
      const lines = [...figure.querySelectorAll("polyline:not(.raw)." + kind)];
      const hits = lines.map((line) => nearest(line, step)).filter(Boolean)
        .sort((a, b) => Math.abs(a.x - step) - Math.abs(b.x - step));
      if (hits.length && Math.abs(hits[0].x - step) <= Math.max(epoch, total / 40))
        cells.push([kind, shown[figure.dataset.name](hits[0].y)]);
    }
    if (cells.length) rows.push([figure.querySelector("figcaption").textContent, cells]);
    any = any || cells.length > 0;
  }
  if (!any) return;
  readout.replaceChildren();
  const head = document.createElement("div");
  head.className = "at";
  head.textContent = root.dataset.words.replace("{epoch}", (step / epoch).toFixed(total / epoch > 20 ? 1 : 2)).replace("{step}", step);
  readout.append(head);
  for (const [name, cells] of rows) {
    const row = document.createElement("div");
    const label = document.createElement("span");
    label.textContent = name;
    row.append(label);
    for (const [kind, text] of cells) {
      const value = document.createElement("b");
      value.className = kind;
      value.textContent = text;
      row.append(value);
    }
    readout.append(row);
  }
  readout.hidden = false;
  // The pointer is in pixels of the window, a position in those of the page, which may be larger (`presentation.js`).
  const area = root.getBoundingClientRect(), scale = area.width / root.offsetWidth;
  const left = (pointer.x - area.left) / scale, width = readout.offsetWidth;
  readout.style.left = Math.max(0, left + 16 + width > root.offsetWidth ? left - width - 16 : left + 16) + "px";
  readout.style.top = Math.max(0, (box.top - area.top) / scale + 8) + "px";
};

element.addEventListener("pointermove", (event) => { pointer = { x: event.clientX, y: event.clientY }; draw(); });
element.addEventListener("pointerdown", (event) => { pointer = { x: event.clientX, y: event.clientY }; draw(); });
element.addEventListener("pointerleave", () => { pointer = null; draw(); });
watch("value", draw);
