"use strict";

// --- Tables: a click on a title sorts by it, numbers first from large to small ---

for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const numeric = head.classList.contains("number");
    const first = numeric ? "descending" : "ascending";
    const other = numeric ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      return sign * (numeric ? Number(x) - Number(y) : x.localeCompare(y, "en", { numeric: true }));
    });
    table.tBodies[0].append(...rows);
  }));
}

// --- Viewers: the geometry is that of plot/marks.py ---

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const words = (text) => {
  const view = new DataView(bytes(text).buffer);
  return Float64Array.from({ length: view.byteLength / 2 }, (_, k) => view.getInt16(2 * k, true));
};

function frame([left, top, width, height, x0, x1, y0, y1]) {
  return {
    left, top, width, height, y0, y1,
    across: (value) => left + ((value - x0) / (x1 - x0)) * width,
    down: (value, low = y0, high = y1) => top + ((high - value) / (high - low)) * height,
  };
}

function linePath(count, value, at, low, high) {
  const points = [];
  for (let t = 0; t < count; t += 1) {
    points.push(`${at.across(t + 0.5).toFixed(1)} ${at.down(value(t), low, high).toFixed(1)}`);
  }
  return "M" + points.join("L");
}

function niceLimits(low, high) {
  if (high - low <= 1e-6 * Math.max(Math.abs(low), Math.abs(high))) [low, high] = [low - 0.5, high + 0.5];
  const reach = high - low;
  const size = 10 ** Math.floor(Math.log10(reach / 4));
  const multiple = [1, 2, 5].find((m) => reach / (m * size) <= 4) ?? 10;
  const step = multiple * size;
  const half = step / 2;
  return [Math.floor(low / half + 1e-9) * half, Math.ceil(high / half - 1e-9) * half, step];
}

function drawTicks(group, at, low, high, step) {
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  group.replaceChildren();
  for (let k = Math.ceil(low / step - 1e-9); k <= Math.floor(high / step + 1e-9); k += 1) {
    const y = at.down(k * step, low, high).toFixed(1);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("class", "tick");
    line.setAttribute("d", `M${at.left.toFixed(1)} ${y}h${at.width.toFixed(1)}`);
    const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
    text.setAttribute("x", (at.left - 5).toFixed(1));
    text.setAttribute("y", y);
    text.textContent = (k * step).toFixed(digits).replace("-", "−");
    group.append(line, text);
  }
}

function startViewer(viewer) {
  const data = JSON.parse(viewer.querySelector("script").textContent);
  const { steps } = data;
  const rasters = data.rasters.map((raster) => ({
    n: raster.n,
    at: frame(raster.frame),
    svg: document.getElementById(raster.svg),
    bits: raster.spikes.map(bytes),
  }));
  const readout = data.readout && { ...data.readout, at: frame(data.readout.frame), all: words(data.readout.values) };
  const trace = data.trace && { ...data.trace, at: frame(data.trace.frame) };
  const membranes = trace ? trace.membranes.map((each) => ({ ...each, all: words(each.values) })) : [];
  const chips = [...viewer.querySelectorAll(".chips button")];
  const select = viewer.querySelector("select");
  const input = viewer.querySelector("input");
  let sample = 0;
  let [layer, neuron] = data.picked ?? [0, 0];

  const fires = (raster, shade, t, i) => {
    const place = (sample * steps + t) * raster.n + i;
    return (raster.bits[shade][place >> 3] >> (place & 7)) & 1;
  };

  function drawRaster(raster) {
    const { at, n } = raster;
    const tall = Number(Math.max(1.2, (0.8 * at.height) / (at.y1 - at.y0)).toFixed(1));
    raster.svg.querySelectorAll(".marks").forEach((path, shade) => {
      let d = "";
      for (let t = 0; t < steps; t += 1) {
        for (let i = 0; i < n; i += 1) {
          if (fires(raster, shade, t, i)) {
            d += `M${at.across(t + 0.5).toFixed(1)} ${(at.down(i) - tall / 2).toFixed(1)}v${tall.toFixed(1)}`;
          }
        }
      }
      path.setAttribute("d", d);
    });
  }

  function drawReadout() {
    const { at, k, all, scale } = readout;
    const [label, guess] = data.classes[sample];
    document.getElementById(readout.svg).querySelectorAll(".class").forEach((path, c) => {
      path.setAttribute("d", linePath(steps, (t) => all[(sample * steps + t) * k + c] * scale, at));
      path.classList.toggle("label", c === label);
      path.classList.toggle("wrong", c === guess && guess !== label);
    });
  }

  function drawTrace() {
    const { at, threshold } = trace;
    const { raster: place, n, scale, all } = membranes[layer];
    const raster = rasters[place];
    const value = (t) => all[(sample * steps + t) * n + neuron] * scale;
    let [from, to] = [0, threshold ?? 0];
    for (let t = 0; t < steps; t += 1) [from, to] = [Math.min(from, value(t)), Math.max(to, value(t))];
    const [low, high, step] = niceLimits(from, to);
    const svg = document.getElementById(trace.svg);
    drawTicks(svg.querySelector(".ticks"), at, low, high, step);
    if (threshold !== null) {
      const y = at.down(threshold, low, high).toFixed(1);
      svg.querySelector(".threshold").setAttribute("d", `M${at.left.toFixed(1)} ${y}h${at.width.toFixed(1)}`);
    }
    svg.querySelector(".trace").setAttribute("d", linePath(steps, value, at, low, high));
    let fired = "";
    let count = 0;
    for (let t = 0; t < steps; t += 1) {
      if (raster.bits.some((_, shade) => fires(raster, shade, t, neuron))) {
        count += 1;
        fired += `M${at.across(t + 0.5).toFixed(1)} ${(at.top - 4).toFixed(1)}v8.0`;
      }
    }
    svg.querySelector(".fired").setAttribute("d", fired);
    viewer.querySelector(".firing").textContent = `fires ${count} times in ${steps} steps`;
    rasters.forEach((each, k) => {
      const y = each.at.down(neuron).toFixed(1);
      const d = k === place ? `M${(each.at.left + each.at.width + 2).toFixed(1)} ${y}l6 -4v8z` : "";
      each.svg.querySelector(".picked").setAttribute("d", d);
    });
  }

  function pickNeuron(newLayer, newNeuron) {
    layer = newLayer;
    const last = membranes[layer].n - 1;
    neuron = Math.max(0, Math.min(last, Math.round(newNeuron) || 0));
    select.value = String(layer);
    input.max = String(last);
    input.value = String(neuron);
    drawTrace();
  }

  function pickSample(k) {
    sample = k;
    chips.forEach((chip, c) => chip.setAttribute("aria-pressed", String(c === k)));
    viewer.querySelector(".status").textContent = data.status[k];
    rasters.forEach(drawRaster);
    if (readout) drawReadout();
    if (trace) drawTrace();
  }

  chips.forEach((chip, k) => chip.addEventListener("click", () => pickSample(k)));
  if (!trace) return;
  select.addEventListener("change", () => pickNeuron(Number(select.value), neuron));
  input.addEventListener("change", () => pickNeuron(layer, Number(input.value)));
  membranes.forEach((membrane, k) => {
    const { svg, at, n } = rasters[membrane.raster];
    svg.classList.add("pickable");
    svg.addEventListener("click", (event) => {
      const y = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).y;
      pickNeuron(k, at.y1 - ((y - at.top) / at.height) * (at.y1 - at.y0));
    });
  });
  pickNeuron(layer, neuron);
}

document.querySelectorAll(".viewer").forEach(startViewer);

// --- Paper shows what a screen folds away ---

addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
