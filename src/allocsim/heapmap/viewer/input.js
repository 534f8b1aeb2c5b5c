"use strict";
// Mouse, touch, keys and buttons.

function keysOf(pane, event) {
  const width = state.t1 - state.t0, height = pane.y1 - pane.y0, far = width * (event.shiftKey ? 0.1 : 0.01), middle = (pane.y0 + pane.y1) / 2;
  const panUp = (part) => { pane.look(pane.y0 + height * part, pane.y1 + height * part); later(true); };
  const modes = [...$("mode").options].map((option) => option.value);
  return {
    ArrowRight: () => goTo(state.time + Math.max(1, far)), ArrowLeft: () => goTo(state.time - Math.max(1, far)),
    ".": () => goTo(state.time + 1), ",": () => goTo(state.time - 1),
    ArrowUp: () => step(pane, true), ArrowDown: () => step(pane, false),
    "+": () => zoom(pane, 0.7, state.time, middle), "=": () => zoom(pane, 0.7, state.time, middle), "-": () => zoom(pane, 1 / 0.7, state.time, middle),
    a: () => lookAt(state.t0 - width * 0.1, state.t1 - width * 0.1), d: () => lookAt(state.t0 + width * 0.1, state.t1 + width * 0.1),
    w: () => panUp(0.1), s: () => panUp(-0.1),
    0: showWhole, p: goToPeak, c: () => setMode(modes[(modes.indexOf(state.mode) + 1) % modes.length]),
    t: () => setTheme(!state.dark), "/": () => $("wanted").focus(), "?": () => $("help").click(),
  };
}

function hint(pane, event) {
  const tip = $("tip"), bounds = pane.over.getBoundingClientRect(), x = event.clientX - bounds.left, y = event.clientY - bounds.top, {box} = pane;
  const inStrip = x > box.x + box.w + EDGE.gap && y >= box.y && y < box.y + box.h;
  let text = "";
  if (pane.holds(x, y) || inStrip) text = factsAt(pane.map, inStrip ? state.time : Math.min(N - 1, Math.floor(pane.timeAt(x))), Math.floor(pane.placeAt(y)));
  else if (x >= box.x && x < box.x + box.w) text = callFacts(pane, x, y);
  tip.textContent = text;
  tip.style.display = text ? "block" : "none";
  if (!text) return;
  tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 6)) + "px";
  tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 6)) + "px";
}

function callFacts(pane, x, y) {
  const {map: {calls}} = pane, lane = Math.floor((y - pane.laneTop(0)) / EDGE.lane);
  if (lane < 0 || lane >= LANES.length) return "";
  const from = lowerBound(calls.op, pane.timeAt(x - 3)), to = lowerBound(calls.op, pane.timeAt(x + 3)), lines = [];
  for (let i = from; i < to; i++) if (LANES[lane][1].includes(calls.number[i])) {
    const where = calls.place[i] ? ` at ${hex(pane.map.addressOf(calls.place[i] - 1))}` : "";
    const sign = calls.number[i] === 12 && calls.size[i] ? (calls.grows[i] ? "+" : "−") : "";
    lines.push(`${SYSCALLS[calls.number[i]] || "call"} ${sign}${bytes(calls.size[i])}${where}, op ${number(calls.op[i])}`);
  }
  return lines.length > 6 ? [...lines.slice(0, 5), `and ${lines.length - 5} more`].join("\n") : lines.join("\n");
}

function listenTo(pane) {
  const {over} = pane, touches = new Map();
  let drag = null;
  const at = (event) => { const bounds = over.getBoundingClientRect(); return {x: event.clientX - bounds.left, y: event.clientY - bounds.top}; };
  const apart = () => { const [a, b] = [...touches.values()]; return Math.max(20, Math.hypot(a.x - b.x, a.y - b.y)); };
  over.addEventListener("pointerdown", (event) => {
    touches.set(event.pointerId, at(event));
    over.setPointerCapture(event.pointerId);
    drag = {...at(event), t0: state.t0, t1: state.t1, y0: pane.y0, y1: pane.y1, moved: false, apart: touches.size === 2 ? apart() : 0};
  });
  over.addEventListener("pointermove", (event) => {
    if (!drag) { hint(pane, event); return; }
    touches.set(event.pointerId, at(event));
    const p = at(event), dx = p.x - drag.x, dy = p.y - drag.y;
    drag.moved = drag.moved || Math.abs(dx) + Math.abs(dy) > 3;
    if (!drag.moved) return;
    $("tip").style.display = "none";
    const factor = drag.apart && touches.size === 2 ? drag.apart / apart() : 1, span = drag.t1 - drag.t0, height = drag.y1 - drag.y0;
    const t = (drag.t0 + drag.t1) / 2 - (factor === 1 ? dx / pane.box.w * span : 0), y = (drag.y0 + drag.y1) / 2 + (factor === 1 ? dy / pane.box.h * height : 0);
    pane.look(y - height * factor / 2, y + height * factor / 2);
    lookAt(t - span * factor / 2, t + span * factor / 2);
  });
  const end = (event) => {
    const p = at(event), clicked = drag && !drag.moved;
    touches.delete(event.pointerId);
    drag = null;
    if (!clicked || event.type !== "pointerup" || p.x < pane.box.x || p.x > pane.box.x + pane.box.w) return;
    if (p.y >= pane.curveTop()) { goTo((p.x - pane.box.x) / pane.box.w * N); return; }
    const t = Math.floor(pane.timeAt(p.x)), block = pane.holds(p.x, p.y) ? pane.map.blockAt(t, Math.floor(pane.placeAt(p.y))) : -1;
    state.selected = block >= 0 ? {pane, block} : null;
    goTo(t);
  };
  over.addEventListener("pointerup", end);
  over.addEventListener("pointercancel", end);
  over.addEventListener("pointerleave", () => { $("tip").style.display = "none"; });
  over.addEventListener("wheel", (event) => {
    event.preventDefault();
    const p = at(event);
    if (pane.holds(p.x, p.y)) zoom(pane, Math.exp(event.deltaY * 0.002), pane.timeAt(p.x), pane.placeAt(p.y), !event.shiftKey);
  }, {passive: false});
  over.addEventListener("dblclick", (event) => { const p = at(event); if (pane.holds(p.x, p.y)) zoom(pane, 0.25, pane.timeAt(p.x), pane.placeAt(p.y)); });
}

function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select") || event.ctrlKey || event.altKey || event.metaKey) return;
    const pane = panes.find((each) => each.over === document.activeElement) || panes[0], act = keysOf(pane, event)[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act) { event.preventDefault(); act(); }
  });
  $("time").addEventListener("input", () => goTo(+$("time").value));
  $("mode").addEventListener("change", () => setMode($("mode").value));
  $("search").addEventListener("submit", (event) => { event.preventDefault(); find($("wanted").value); });
  $("peak").addEventListener("click", goToPeak);
  $("whole").addEventListener("click", showWhole);
  $("theme").addEventListener("click", () => setTheme(!state.dark));
  $("help").addEventListener("click", () => { $("keys").hidden = !$("keys").hidden; $("help").setAttribute("aria-expanded", String(!$("keys").hidden)); resizeAll(); });
  addEventListener("resize", resizeAll);
}

function resizeAll() {
  panes.forEach((pane) => pane.resize());
  later(true);
}

function note(map) {
  const {facts} = map, every = Math.max(1, Math.round(N / (map.moments.op.length - 1)));
  const exact = map.isComplete ? `all ${number(facts.n_blocks)} blocks are exact` : `of ${number(facts.n_blocks)} blocks the ${number(map.blocks.n)} largest by bytes × ops are exact, and all of ops ${number(facts.exact[0])} to ${number(facts.exact[1])}; the rest is drawn as tiles`;
  const calls = facts.calls_left_out ? ` ${number(facts.calls_left_out)} smaller system calls are left out.` : "";
  return `${facts.policy}: ${exact}. Page states were read every ${number(every)} ops; each holds for the ops before it. Top was read at every sixteenth of these.${calls}`;
}

async function start() {
  const modes = Object.entries(MODES).filter(([mode]) => mode !== "thread" || FACTS.maps.some((map) => map.n_threads > 1));
  $("mode").append(...modes.map(([value, text]) => new Option(text, value)));
  $("title").textContent = `${FACTS.workload}, ${number(FACTS.maps[0].n_ops)} ops`;
  $("time").max = N - 1;
  for (const [k, facts] of FACTS.maps.entries()) panes.push(new Pane(new HeapMap(facts, await decode(facts, $(`data-${k}`))), $("panes"), state));
  $("note").textContent = panes.map(({map}) => note(map)).join(" ");
  panes.forEach((pane) => pane.resize());
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches);
  panes.forEach(listenTo);
  listen();
  resizeAll();
  goToPeak();
  requestAnimationFrame(() => requestAnimationFrame(() => { document.body.dataset.ready = "yes"; }));
}

start();
