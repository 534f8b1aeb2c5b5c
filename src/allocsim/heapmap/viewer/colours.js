"use strict";
// Colours as 0xRRGGBB. Sizes and ages are ordered by lightness, so that they can be read in grey.

const THEMES = {
  light: {
    class: [0x3b1f6b, 0x3f4a8a, 0x2d6f8e, 0x1f948c, 0x42b072, 0x8fc93a, 0xe3cf1b, 0x6e6a66],
    thread: [0x0072b2, 0xe69f00, 0x009e73, 0xcc79a7, 0x56b4e9, 0xd55e00, 0xb8ab1e, 0x555555],
    age: [0xf7d13d, 0xf28e1c, 0xcf4446, 0x862567, 0x2c0b4f],
    none: 0xfafaf7, absent: 0xe2e2dc, zero: 0x8fc4f2, rare: 0xc49be6, hole: 0xf0a3bc, ink: 0x1b1b19,
  },
  dark: {
    class: [0x6c50b5, 0x4f78c4, 0x3b97b3, 0x2fb59c, 0x62cd7a, 0xa9df45, 0xf5e53c, 0xa8a39d],
    thread: [0x4aa3df, 0xf0b13a, 0x2fc79a, 0xe39cc5, 0x8fd0f5, 0xf08440, 0xe8dd55, 0xaaaaaa],
    age: [0xfbe06a, 0xf59a3c, 0xe0605f, 0xb04f93, 0x7a55b5],
    none: 0x17181c, absent: 0x292b32, zero: 0x24598a, rare: 0x5d3d85, hole: 0x8a3556, ink: 0xececea,
  },
};

function mix(a, b, part) {
  let out = 0;
  for (const shift of [16, 8, 0])
    out |= Math.round((a >> shift & 255) * (1 - part) + (b >> shift & 255) * part) << shift;
  return out;
}

const css = (colour) => "#" + colour.toString(16).padStart(6, "0");
const pixel = (colour) => (0xff000000 | (colour & 255) << 16 | colour & 0xff00 | colour >> 16 & 255) >>> 0;

function ramp(colours, part) {
  const at = Math.max(0, Math.min(1, part)) * (colours.length - 1), k = Math.min(colours.length - 2, Math.floor(at));
  return mix(colours[k], colours[k + 1], at - k);
}

const agePart = (age, nOps) => Math.log2(Math.max(1, age)) / Math.log2(Math.max(4, nOps));

function blockColour(theme, mode, map, i, t) {
  const {blocks} = map;
  if (mode === "age") return ramp(theme.age, agePart(t - blocks.born[i], map.nOps));
  return mode === "thread" ? theme.thread[blocks.thread[i] % theme.thread.length] : theme.class[blocks.kind[i]];
}

// Live memory whose pages are not there is pale.
const pale = (theme, colour) => mix(theme.none, colour, 0.45);

function tileBase(theme, pages, rare) {
  let colour = mix(theme.none, theme.absent, (pages & 15) / 15);
  colour = mix(colour, theme.hole, (pages >> 4) / 15);
  colour = mix(colour, theme.zero, (rare & 15) / 15);
  return mix(colour, theme.rare, (rare >> 4) / 15);
}

function tileColour(theme, mode, map, at) {
  const {live, pages, rare} = map.planes, part = live[at] / 63, base = tileBase(theme, pages[at], rare[at]);
  if (!part) return base;
  const full = mode === "age" ? ramp(theme.age, agePart(2 ** ((map.planes.age[at] - 1) / 2), map.nOps))
    : theme[mode][map.planes[mode] ? map.planes[mode][at] : 0];
  const present = Math.min(1, (pages[at] >> 4) / 15 / Math.max(part, 0.02));
  return mix(base, mix(pale(theme, full), full, present), 0.25 + 0.75 * part);
}

function legendOf(theme, mode, map) {
  const tops = map.facts.class_tops.map(bytes);
  const rows = {
    class: () => [...tops.map((top, k) => [theme.class[k], `≤ ${top}`]), [theme.class[tops.length], "larger"], [theme.class[tops.length + 1], "own mapping"]],
    thread: () => Array.from({length: Math.min(8, map.facts.n_threads)}, (_, k) => [theme.thread[k], `thread ${k}${map.facts.n_threads > 8 ? `, ${k + 8}, …` : ""}`]),
    age: () => [0, 0.25, 0.5, 0.75, 1].map((part) => [ramp(theme.age, part), part ? `${number(Math.max(4, map.nOps) ** part)} ops old` : "new"]),
  }[mode]();
  return [
    ...rows, [pale(theme, rows[Math.min(3, rows.length - 1)][0]), "pale: live, page not there"],
    [theme.hole, "resident, nothing live"], [theme.absent, "absent"], [theme.zero, "zero page"],
    [theme.rare, "swapped or MADV_FREE"], [theme.none, "not accessible"],
  ];
}
