"use strict";
// The page's state, and what mouse, keys and buttons do to it.

const $ = (id) => document.getElementById(id);
const FACTS = JSON.parse($("facts").textContent), N = Math.max(1, FACTS.maps[0].n_ops);
const MODES = {class: "size class", age: "age", thread: "thread"};
const state = {t0: 0, t1: N, time: 0, mode: "class", dark: false, theme: THEMES.light, css: {}, selected: null};
const panes = [];
let drawing = 0;

// ---- drawing, at most once a frame
function later(all) {
  if (!drawing) requestAnimationFrame(() => { const whole = drawing > 1; drawing = 0; panes.forEach((pane) => whole ? pane.draw() : pane.drawOver()); });
  drawing = Math.max(drawing, all ? 2 : 1);
}

function setTheme(dark) {
  state.dark = dark;
  state.theme = dark ? THEMES.dark : THEMES.light;
  document.documentElement.classList.toggle("dark", dark);
  const style = getComputedStyle(document.documentElement);
  for (const name of ["bg", "ink", "dim", "line", "accent"]) state.css[name] = style.getPropertyValue(`--${name}`);
  recolour();
}

function setMode(mode) {
  state.mode = $("mode").value = mode;
  recolour();
}

function recolour() {
  if (!panes.length) return;
  panes.forEach((pane) => pane.paintTiles());
  $("legend").replaceChildren(...legendOf(state.theme, state.mode, panes[0].map).map(([colour, text]) => {
    const item = document.createElement("span"), swatch = document.createElement("i");
    swatch.style.background = css(colour);
    item.append(swatch, text);
    return item;
  }), "hatched: top");
  later(true);
}

// ---- where and when
function lookAt(t0, t1) {
  const span = Math.max(Math.min(N, 16), Math.min(N, t1 - t0));
  state.t0 = Math.max(0, Math.min(N - span, t0));
  state.t1 = state.t0 + span;
  later(true);
}

function goTo(t) {
  state.time = Math.max(0, Math.min(N - 1, Math.round(t)));
  $("time").value = state.time;
  if (state.time < state.t0 || state.time >= state.t1) lookAt(state.time - (state.t1 - state.t0) / 2, state.time + (state.t1 - state.t0) / 2);
  say();
  later(false);
}

function zoom(pane, factor, t, y, both = true) {
  lookAt(t - (t - state.t0) * factor, t + (state.t1 - t) * factor);
  if (both) pane.look(y - (y - pane.y0) * factor, y + (pane.y1 - y) * factor);
}

function showWhole() {
  panes.forEach((pane) => pane.look(0, pane.map.height));
  lookAt(0, N);
}

function say() {
  const lines = panes.map(({map}) => {
    const moment = map.momentAt(state.time);
    return `${map.facts.policy}: op ${number(state.time)} · live ${bytes(map.liveAt(state.time))} · resident ${bytes(map.moments.resident[moment])} · mapped ${bytes(map.moments.mapped[moment])}`;
  });
  if (state.selected) lines.push(blockFacts(state.selected.pane.map, state.selected.block, Math.max(state.time, state.selected.pane.map.blocks.born[state.selected.block])).slice(0, 3).join(" · "));
  $("said").textContent = lines.join("\n");
}

function select(pane, block) {
  state.selected = {pane, block};
  const {born, died, place, size} = pane.map.blocks;
  if (state.time < born[block] || state.time >= died[block]) state.time = $("time").value = born[block];
  const life = Math.max(40, died[block] - born[block]), height = Math.max(4096, size[block] * 6);
  lookAt(born[block] - life * 0.2, born[block] + life * 1.2);
  pane.look(place[block] + size[block] / 2 - height / 2, place[block] + size[block] / 2 + height / 2);
  say();
}

function goToPeak() { goTo(panes[0].map.facts.peak_op); }

// ---- search: an address at the time of the line, or an object's next block
function find(text) {
  const wanted = text.trim().replace(/^(object|#)\s*/i, "");
  const isAddress = /^0x[0-9a-f]+$/i.test(wanted);
  if (!isAddress && !/^\d+$/.test(wanted)) { $("said").textContent = "Search for an address, such as 0x555555559000, or for an object's number."; return; }
  for (const pane of panes) if (isAddress ? findAddress(pane, Number(wanted)) : findObject(pane, Number(wanted))) return;
  $("said").textContent = isAddress ? `No map has the address ${wanted}.` : `No object ${wanted} is held one by one.`;
}

function findAddress(pane, address) {
  const place = pane.map.placeOf(address);
  if (place < 0) return false;
  const block = pane.map.blockAt(state.time, place);
  if (block >= 0) select(pane, block);
  else { state.selected = null; pane.look(place - 8192, place + 8192); later(true); $("said").textContent = factsAt(pane.map, state.time, place); }
  return true;
}

function findObject(pane, slot) {
  const {selected} = state, {blocks} = pane.map;
  const again = selected && selected.pane === pane && blocks.slot[selected.block] === slot;
  const block = pane.map.blockOf(slot, again ? blocks.died[selected.block] : state.time);
  if (block >= 0) select(pane, block);
  return block >= 0;
}

function step(pane, up) {
  const {map} = pane, {place, size} = map.blocks, {selected} = state;
  const middle = (pane.y0 + pane.y1) / 2, isLive = selected && selected.pane === pane && map.blocks.born[selected.block] <= state.time && map.blocks.died[selected.block] > state.time;
  const low = isLive ? place[selected.block] : middle, high = isLive ? low + size[selected.block] : middle;
  const {below, above} = map.neighbours(state.time, low, high, map.height), block = up ? above : below;
  if (block < 0) return;
  state.selected = {pane, block};
  if (place[block] < pane.y0 || place[block] + size[block] > pane.y1) pane.look(place[block] - (pane.y1 - pane.y0) / 2, place[block] + (pane.y1 - pane.y0) / 2);
  say();
  later(true);
}
