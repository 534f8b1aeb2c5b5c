"use strict";
// One policy's map on the screen: a canvas for the map, and one above it for what follows the time.

const EDGE = {left: 108, top: 22, right: 10, strip: 54, gap: 10, lane: 13, curve: 44};
const LANES = [["brk", [12]], ["mmap", [9]], ["munmap", [11]], ["other", [10, 25, 28]]];
const BELOW = 20 + (LANES.length + 1) * EDGE.lane + 12 + EDGE.curve + 6;

class Pane {
  constructor(map, parent, state) {
    Object.assign(this, {map, state, y0: 0, y1: map.height});
    this.element = document.createElement("div");
    this.element.className = "pane";
    this.base = this.addCanvas();
    this.over = this.addCanvas();
    this.over.tabIndex = 0;
    this.over.setAttribute("role", "application");
    this.over.setAttribute("aria-label", `Heap map of ${map.facts.policy}: address against time. Press ? for the keys.`);
    parent.append(this.element);
  }

  addCanvas() {
    const canvas = document.createElement("canvas");
    this.element.append(canvas);
    return canvas;
  }

  resize() {
    const scale = Math.min(2, devicePixelRatio || 1), {clientWidth: w, clientHeight: h} = this.element;
    for (const canvas of [this.base, this.over]) { canvas.width = w * scale; canvas.height = h * scale; }
    this.scale = scale;
    this.box = {x: EDGE.left, y: EDGE.top, w: Math.max(50, w - EDGE.left - EDGE.gap - EDGE.strip - EDGE.right), h: Math.max(50, h - EDGE.top - BELOW)};
  }

  x(t) { return this.box.x + (t - this.state.t0) / (this.state.t1 - this.state.t0) * this.box.w; }
  y(place) { return this.box.y + (this.y1 - place) / (this.y1 - this.y0) * this.box.h; }
  timeAt(x) { return this.state.t0 + (x - this.box.x) / this.box.w * (this.state.t1 - this.state.t0); }
  placeAt(y) { return this.y1 - (y - this.box.y) / this.box.h * (this.y1 - this.y0); }
  holds(x, y) { const b = this.box; return x >= b.x && x < b.x + b.w && y >= b.y && y < b.y + b.h; }

  look(y0, y1) {
    const span = Math.max(256, Math.min(this.map.height, y1 - y0));
    this.y0 = Math.max(0, Math.min(this.map.height - span, y0));
    this.y1 = this.y0 + span;
  }

  // The whole run as an image of tiles, the highest address on top.
  paintTiles() {
    const {columns, rows} = this.map.facts, image = new ImageData(columns, rows), out = new Uint32Array(image.data.buffer);
    for (let row = 0, at = 0; row < rows; row++)
      for (let to = (rows - 1 - row) * columns, end = at + columns; at < end; at++, to++)
        out[to] = pixel(tileColour(this.state.theme, this.state.mode, this.map, at));
    this.tiles = new OffscreenCanvas(columns, rows);
    this.tiles.getContext("2d").putImageData(image, 0, 0);
  }

  draw() {
    const g = this.begin(this.base), {box} = this;
    this.drawTiles(g);
    if (this.drawsBlocks()) g.drawImage(this.exactImage(this.state.t0, this.state.t1, box.w, box.h), box.x, box.y, box.w, box.h);
    this.drawTops(g);
    this.drawAxes(g);
    this.drawLanes(g);
    this.drawCurve(g);
    this.drawOver();
  }

  begin(canvas) {
    const g = canvas.getContext("2d");
    g.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    g.clearRect(0, 0, canvas.width, canvas.height);
    g.font = "11px system-ui, sans-serif";
    return g;
  }

  drawTiles(g) {
    const {box, map, state} = this, {columns, rows, row_bytes} = map.facts, perOp = columns / map.nOps;
    const width = (state.t1 - state.t0) * perOp, height = (this.y1 - this.y0) / row_bytes;
    g.imageSmoothingEnabled = width > box.w || height > box.h;
    g.drawImage(this.tiles, state.t0 * perOp, rows - this.y1 / row_bytes, width, height, box.x, box.y, box.w, box.h);
  }

  // Whether blocks are drawn one by one: where all are held, and tiles would be coarse.
  drawsBlocks() {
    const {state, map} = this, perPixel = map.facts.row_bytes / ((this.y1 - this.y0) / this.box.h);
    const isClose = (state.t1 - state.t0) * map.facts.columns / map.nOps < this.box.w / 2 || perPixel > 2;
    return isClose && map.isExact(state.t0, state.t1);
  }

  // Pages and blocks of ops t0 to t1, in w x h pixels.
  exactImage(t0, t1, w, h) {
    w = Math.round(w * this.scale);
    h = Math.round(h * this.scale);
    const {map, state: {theme, mode}} = this, image = new ImageData(w, h), px = new Uint32Array(image.data.buffer);
    const kx = w / (t1 - t0), ky = h / (this.y1 - this.y0), none = pixel(theme.none), absent = pixel(theme.absent), zero = pixel(theme.zero);
    const fill = (from, to, low, high, colour, faint) => {
      const a = Math.max(0, Math.floor((from - t0) * kx)), z = Math.min(w, Math.max(a + 1, Math.floor((to - t0) * kx) - (kx > 5 ? 1 : 0)));
      const top = Math.max(0, Math.floor((this.y1 - high) * ky)), end = Math.min(h, Math.max(top + 1, Math.floor((this.y1 - low) * ky) - ((high - low) * ky > 4 ? 1 : 0)));
      for (let row = top; row < end; row++) {
        if (faint === undefined) px.fill(colour, row * w + a, row * w + z);
        else for (let i = row * w + a; i < row * w + z; i++) px[i] = px[i] === none || px[i] === absent || px[i] === zero ? faint : colour;
      }
    };
    px.fill(none);
    const states = [theme.none, theme.absent, theme.zero, theme.rare, theme.rare, theme.hole].map(pixel);
    this.eachPeriod(t0, t1, (i, from, to, low, high) => fill(from, to, low, high, states[map.periods.state[i]]));
    const {born, died, place, size} = map.blocks;
    map.eachBlock(this.y0, this.y1, t0, t1, (i) => {
      const colour = blockColour(theme, mode, map, i, Math.min(died[i], t1));
      fill(born[i], died[i], place[i], place[i] + Math.max(1, size[i]), pixel(colour), pixel(pale(theme, colour)));
    });
    const canvas = new OffscreenCanvas(w, h);
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  eachPeriod(t0, t1, visit) {
    const {map} = this, {periods} = map;
    for (let i = 0; i < periods.n; i++) {
      const low = periods.page[i] * PAGE, high = low + periods.pages[i] * PAGE;
      const from = map.firstOp(periods.first[i]), to = periods.last[i] >= map.moments.op.length ? map.nOps : map.firstOp(periods.last[i]);
      if (high > this.y0 && low < this.y1 && from < t1 && to > t0) visit(i, from, to, low, high);
    }
  }

  drawTops(g) {
    const {map: m, box} = this, {tops} = m;
    g.save();
    g.beginPath();
    g.rect(box.x, box.y, box.w, box.h);
    g.clip();
    g.fillStyle = this.hatch(g);
    for (let i = 0; i < tops.n; i++) {
      const from = this.x(m.firstOp(tops.first[i])), to = this.x(tops.last[i] >= m.moments.op.length ? m.nOps : m.firstOp(tops.last[i]));
      g.fillRect(from, this.y(tops.place[i] + tops.size[i]), to - from, this.y(tops.place[i]) - this.y(tops.place[i] + tops.size[i]));
    }
    g.restore();
  }

  hatch(g) {
    const tile = new OffscreenCanvas(8, 8), c = tile.getContext("2d");
    c.strokeStyle = css(this.state.theme.ink) + "55";
    for (const at of [-8, 0, 8]) { c.moveTo(at, 8); c.lineTo(at + 8, 0); }
    c.stroke();
    return g.createPattern(tile, "repeat");
  }
}
