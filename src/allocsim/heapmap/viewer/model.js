"use strict";
// What is where at which op: questions to one policy's map.

const PAGE = 4096, SYSCALLS = {9: "mmap", 10: "mprotect", 11: "munmap", 12: "brk", 25: "mremap", 28: "madvise"};
const STATES = ["not accessible", "absent", "zero page", "swapped out", "resident, may be taken (MADV_FREE)", "resident"];

// The first index whose value is not below `value`.
function lowerBound(values, value) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < value) low = middle + 1; else high = middle;
  }
  return low;
}

class HeapMap {
  constructor(facts, found) {
    Object.assign(this, {facts, planes: found, nOps: facts.n_ops, height: facts.rows * facts.row_bytes});
    this.blocks = blocksFrom(found, facts);
    this.isComplete = this.blocks.n === facts.n_blocks;
    this.periods = {n: found.period_page.length, page: found.period_page, pages: found.period_n_pages, state: found.period_state, first: found.period_first, last: found.period_last};
    this.moments = {op: found.moment_n_ops, live: found.moment_live_bytes, mapped: found.moment_mapped_bytes, resident: found.moment_resident_bytes};
    this.tops = {n: found.top_place.length, place: found.top_place, size: found.top_size, first: found.top_first, last: found.top_last};
    this.calls = {n: found.call_op.length, op: running(found.call_op), number: found.call_number, place: found.call_place, size: found.call_size, grows: found.call_grows};
    this.live = this.isComplete ? this.liveByOp() : null;
  }

  liveByOp() {
    const {blocks} = this, live = new Float64Array(this.nOps + 1);
    for (let i = 0; i < blocks.n; i++) if (!blocks.own[i]) {
      live[blocks.born[i]] += blocks.size[i];
      live[blocks.died[i]] -= blocks.size[i];
    }
    return running(live);
  }

  // The moment whose page states hold at op t: the first at which op t is done.
  momentAt(t) { return Math.min(this.moments.op.length - 1, lowerBound(this.moments.op, t + 1)); }
  firstOp(moment) { return moment ? this.moments.op[moment - 1] : 0; }
  liveAt(t) { return this.live ? this.live[t] : this.moments.live[this.momentAt(t)]; }

  residentAt(moment) {
    const {periods} = this;
    let pages = 0;
    for (let i = 0; i < periods.n; i++)
      if (periods.state[i] >= 4 && periods.first[i] <= moment && periods.last[i] > moment) pages += periods.pages[i];
    return pages * PAGE;
  }

  // Whether all blocks of ops t0 to t1 are held one by one.
  isExact(t0, t1) { return this.isComplete || (t0 >= this.facts.exact[0] && t1 <= this.facts.exact[1]); }

  // Calls `visit` with each block that is live at some op of [t0, t1) and has a byte in [y0, y1).
  eachBlock(y0, y1, t0, t1, visit) {
    const {place, size, born, died} = this.blocks;
    for (const {most, rows, places} of this.blocks.bySize)
      for (let k = lowerBound(places, y0 - most), end = lowerBound(places, y1); k < end; k++) {
        const i = rows[k];
        if (born[i] < t1 && died[i] > t0 && place[i] + Math.max(1, size[i]) > y0) visit(i);
      }
  }

  blockAt(t, y) {
    let hit = -1;
    this.eachBlock(y, y + 1, t, t + 1, (i) => { hit = i; });
    return hit;
  }

  // The nearest live blocks below and above one of them, or of an address, as far as `reach` bytes.
  neighbours(t, low, high, reach) {
    const {place, size} = this.blocks;
    let below = -1, above = -1;
    this.eachBlock(low - reach, high + reach, t, t + 1, (i) => {
      if (place[i] + size[i] <= low && (below < 0 || place[i] > place[below])) below = i;
      if (place[i] >= high && (above < 0 || place[i] < place[above])) above = i;
    });
    return {below, above};
  }

  stateAt(t, y) {
    const {periods} = this, moment = this.momentAt(t), page = Math.floor(y / PAGE);
    for (let i = 0; i < periods.n; i++)
      if (periods.page[i] <= page && periods.page[i] + periods.pages[i] > page && periods.first[i] <= moment && periods.last[i] > moment) return periods.state[i];
    return 0;
  }

  isTop(t, y) {
    const {tops} = this, moment = this.momentAt(t);
    for (let i = 0; i < tops.n; i++)
      if (tops.first[i] <= moment && tops.last[i] > moment && tops.place[i] <= y && tops.place[i] + tops.size[i] > y) return true;
    return false;
  }

  segmentAt(y) { return this.facts.segments.findLast((s) => s.base <= y) || this.facts.segments[0]; }
  addressOf(y) { const s = this.segmentAt(y); return s.lo + y - s.base; }
  placeOf(address) {
    const s = this.facts.segments.find((q) => q.lo <= address && address < q.hi);
    return s ? s.base + address - s.lo : -1;
  }

  // The next block of an object at or after op t, else its first one; -1 if it never was.
  blockOf(slot, t) {
    const {blocks} = this;
    let next = -1, first = -1;
    for (let i = 0; i < blocks.n; i++) if (blocks.slot[i] === slot) {
      if (first < 0 || blocks.born[i] < blocks.born[first]) first = i;
      if (blocks.died[i] > t && (next < 0 || blocks.born[i] < blocks.born[next])) next = i;
    }
    return next >= 0 ? next : first;
  }
}
