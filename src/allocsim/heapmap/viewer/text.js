"use strict";
// Numbers and facts as words.

const number = (n) => Math.round(n).toLocaleString("en");
const hex = (n) => "0x" + n.toString(16);

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let k = 0;
  while (n >= 1024 && k < units.length - 1) { n /= 1024; k++; }
  return `${n >= 100 || Number.isInteger(n) ? n.toFixed(0) : n.toPrecision(3)} ${units[k]}`;
}

function factsAt(map, t, y) {
  const address = map.addressOf(y), i = map.blockAt(t, y);
  const lines = [`${map.segmentAt(y).name} ${hex(address)}, op ${number(t)}`];
  lines.push(...(i >= 0 ? blockFacts(map, i, t) : emptyFacts(map, t, y)));
  lines.push(`page: ${STATES[map.stateAt(t, y)]}`);
  return lines.join("\n");
}

function blockFacts(map, i, t) {
  const {place, size, born, died, thread, slot, own} = map.blocks;
  const end = died[i] >= map.nOps ? "lives to the end" : `until op ${number(died[i])}`;
  return [
    `${own[i] ? "the program's own mapping" : "block"} ${hex(map.addressOf(place[i]))}, ${number(size[i])} bytes`,
    `object ${slot[i]}, thread ${thread[i]}`,
    `from op ${number(born[i])}, ${end}; age here ${number(t - born[i])} ops`,
    ...neighbourFacts(map, t, place[i], place[i] + size[i]),
  ];
}

function emptyFacts(map, t, y) {
  const what = map.isTop(t, y) ? "top: free, at the end of the heap" : "no block";
  if (map.isExact(t, t + 1)) return [what, ...neighbourFacts(map, t, y, y)];
  const tile = Math.floor(y / map.facts.row_bytes) * map.facts.columns + Math.min(map.facts.columns - 1, Math.floor(t / map.nOps * map.facts.columns));
  return ["no block that is held one by one", `tile of ${bytes(map.facts.row_bytes)}: ${Math.round(map.planes.live[tile] / 0.63)} % live`];
}

function neighbourFacts(map, t, low, high) {
  const reach = 1 << 20, {below, above} = map.neighbours(t, low, high, reach), {place, size} = map.blocks;
  const say = (name, i, gap) => i < 0 ? `${name}: no block within ${bytes(reach)}` : `${name}: ${number(size[i])} bytes, ${number(gap)} bytes away`;
  return [
    say("above", above, above < 0 ? 0 : place[above] - high),
    say("below", below, below < 0 ? 0 : low - place[below] - size[below]),
  ];
}
