"use strict";
// Around the map: addresses, ops, system calls, faults, memory, and what follows the time.

Object.assign(Pane.prototype, {
  drawAxes(g) {
    const {box} = this, {ink, dim, line} = this.state.css;
    g.fillStyle = ink;
    g.textBaseline = "top";
    g.font = "600 13px system-ui, sans-serif";
    g.fillText(this.map.facts.policy, box.x, 2);
    g.font = "11px system-ui, sans-serif";
    g.strokeStyle = line;
    g.strokeRect(box.x - 0.5, box.y - 0.5, box.w + 1, box.h + 1);
    this.drawSegments(g, ink, dim);
    this.drawOps(g, dim);
  },

  drawSegments(g, ink, dim) {
    const {box} = this, segments = this.map.facts.segments;
    let free = box.y + box.h + 8;
    segments.forEach((segment, k) => {
      const end = k + 1 < segments.length ? segments[k + 1].base : this.map.height;
      if (end <= this.y0 || segment.base >= this.y1) return;
      const bottom = Math.min(box.y + box.h, this.y(segment.base)), top = Math.max(box.y, this.y(end));
      g.strokeStyle = ink;
      if (segment.base > this.y0) { g.beginPath(); g.moveTo(box.x - 6, bottom - 0.5); g.lineTo(box.x + box.w, bottom - 0.5); g.stroke(); }
      g.textAlign = "right";
      g.textBaseline = "middle";
      if (bottom - 7 < free - 6) {
        g.fillStyle = dim;
        g.fillText(hex(segment.lo + Math.max(0, Math.floor(this.y0 - segment.base))), box.x - 8, bottom - 7);
        free = bottom - 14;
      }
      if (bottom - top > 44 && (top + bottom) / 2 + 14 < free) {
        g.fillStyle = ink;
        g.fillText(segment.name, box.x - 8, (top + bottom) / 2 - 7);
        g.fillStyle = dim;
        g.fillText(bytes(segment.hi - segment.lo), box.x - 8, (top + bottom) / 2 + 7);
        free = (top + bottom) / 2 - 14;
      }
    });
    for (let k = 1; k < segments.length; k++) {
      const at = this.y(segments[k].base);
      if (at > box.y + 8 && at < box.y + box.h) this.drawGap(g, bytes(segments[k].lo - segments[k - 1].hi), at, dim);
    }
  },

  drawGap(g, left_out, at, dim) {
    const text = `${left_out} of addresses left out`, width = g.measureText(text).width + 8;
    g.textAlign = "left";
    g.fillStyle = this.state.css.bg;
    g.fillRect(this.box.x + 4, at - 7, width, 14);
    g.fillStyle = dim;
    g.fillText(text, this.box.x + 8, at);
  },

  drawOps(g, dim) {
    const {box, state} = this, span = state.t1 - state.t0;
    const steps = Array.from({length: 36}, (_, k) => [1, 2, 5][k % 3] * 10 ** Math.floor(k / 3));
    const step = steps.find((s) => span / s <= box.w / 95) || span;
    g.textAlign = "center";
    g.textBaseline = "top";
    g.fillStyle = dim;
    for (let t = Math.ceil(state.t0 / step) * step; t <= state.t1; t += step) {
      const x = this.x(t);
      if (x <= box.x + box.w - 18) g.fillText(number(t), Math.max(x, box.x + 8), box.y + box.h + 4);
    }
    g.textAlign = "right";
    g.fillText("op", box.x - 8, box.y + box.h + 4);
  },

  laneTop(k) { return this.box.y + this.box.h + 20 + k * EDGE.lane; },

  drawLanes(g) {
    const {box, map: {calls}, state} = this, {ink, dim} = state.css;
    const from = lowerBound(calls.op, state.t0), to = lowerBound(calls.op, state.t1);
    g.textAlign = "right";
    g.textBaseline = "middle";
    LANES.forEach(([name, numbers], k) => {
      const y = this.laneTop(k);
      g.fillStyle = dim;
      g.fillText(name, box.x - 8, y + EDGE.lane / 2);
      g.fillStyle = ink;
      let last = -1;
      for (let i = from; i < to; i++) if (numbers.includes(calls.number[i])) {
        const x = Math.floor(this.x(calls.op[i]));
        if (x !== last) g.fillRect(x, y + 1, 1, EDGE.lane - 2);
        last = x;
      }
    });
    this.drawFaults(g);
  },

  drawFaults(g) {
    const {box, map, state} = this, {faults} = map.planes, y = this.laneTop(LANES.length), perOp = map.facts.columns / map.nOps;
    const from = Math.floor(state.t0 * perOp), to = Math.min(faults.length, Math.ceil(state.t1 * perOp));
    let most = 1;
    for (let i = 0; i < faults.length; i++) most = Math.max(most, faults[i]);
    g.fillStyle = state.css.dim;
    g.fillText("faults", box.x - 8, y + EDGE.lane / 2);
    for (let i = from; i < to; i++) if (faults[i]) {
      const x = Math.max(box.x, this.x(i / perOp)), end = Math.min(box.x + box.w, this.x((i + 1) / perOp));
      g.globalAlpha = 0.3 + 0.7 * Math.log1p(faults[i]) / Math.log1p(most);
      g.fillRect(x, y + 1, Math.max(1, end - x), EDGE.lane - 1);
    }
    g.globalAlpha = 1;
  },

  curveTop() { return this.laneTop(LANES.length + 1) + 8; },

  drawCurve(g) {
    const {box, map: {moments, nOps}, state: {theme, css: colours, t0, t1}} = this, top = this.curveTop(), bottom = top + EDGE.curve;
    const most = Math.max(1, ...moments.resident, ...moments.live);
    const at = (i) => box.x + moments.op[i] / nOps * box.w;
    const line = (values) => { g.beginPath(); values.forEach((v, i) => g.lineTo(at(i), bottom - v / most * EDGE.curve)); };
    line(moments.resident);
    g.lineTo(box.x + box.w, bottom);
    g.lineTo(box.x, bottom);
    g.fillStyle = css(theme.hole);
    g.fill();
    line(moments.live);
    g.strokeStyle = colours.ink;
    g.lineWidth = 1.5;
    g.stroke();
    g.lineWidth = 1;
    g.strokeStyle = colours.dim;
    g.strokeRect(box.x + t0 / nOps * box.w, top - 2, Math.max(2, (t1 - t0) / nOps * box.w), EDGE.curve + 3);
    g.fillStyle = colours.dim;
    g.textAlign = "right";
    g.textBaseline = "middle";
    [bytes(most), "filled: resident", "line: live", "0"].forEach((text, k) => g.fillText(text, box.x - 8, top + 4 + k * (EDGE.curve - 6) / 3));
  },

  // The line of the time, the address space at that op, and the selected block.
  drawOver() {
    const g = this.begin(this.over), {box, state, map} = this, x = this.x(state.time), strip = box.x + box.w + EDGE.gap;
    if (this.drawsBlocks() && map.isExact(state.time, state.time + 1))
      g.drawImage(this.exactImage(state.time, state.time + 1, EDGE.strip, box.h), strip, box.y, EDGE.strip, box.h);
    else {
      const {columns, rows, row_bytes} = map.facts, column = Math.min(columns - 1, Math.floor(state.time / map.nOps * columns));
      g.imageSmoothingEnabled = false;
      g.drawImage(this.tiles, column, rows - this.y1 / row_bytes, 1, (this.y1 - this.y0) / row_bytes, strip, box.y, EDGE.strip, box.h);
    }
    g.strokeStyle = state.css.line;
    g.strokeRect(strip - 0.5, box.y - 0.5, EDGE.strip + 1, box.h + 1);
    g.fillStyle = state.css.dim;
    g.textAlign = "center";
    g.textBaseline = "top";
    g.fillText("at the line", strip + EDGE.strip / 2, box.y + box.h + 4);
    g.strokeStyle = state.css.accent;
    g.beginPath();
    if (x >= box.x && x <= box.x + box.w) { g.moveTo(x, box.y); g.lineTo(x, this.laneTop(LANES.length + 1)); }
    const whole = box.x + state.time / map.nOps * box.w;
    g.moveTo(whole, this.curveTop() - 2);
    g.lineTo(whole, this.curveTop() + EDGE.curve);
    g.stroke();
    if (state.selected && state.selected.pane === this) this.drawSelected(g, state.selected.block);
  },

  drawSelected(g, i) {
    const {box, map: {blocks}} = this, clampX = (v) => Math.max(box.x, Math.min(box.x + box.w, v)), clampY = (v) => Math.max(box.y, Math.min(box.y + box.h, v));
    const x = clampX(this.x(blocks.born[i])), y = clampY(this.y(blocks.place[i] + blocks.size[i]));
    g.lineWidth = 2;
    g.strokeRect(x - 1, y - 1, Math.max(3, clampX(this.x(blocks.died[i])) - x) + 2, Math.max(3, clampY(this.y(blocks.place[i])) - y) + 2);
    g.lineWidth = 1;
  },
});
