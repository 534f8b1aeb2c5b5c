"use strict";
// From the page's base64 to typed arrays: see packing.py for the forms.

const OVERLAP = 2 ** 48;

function bytesOf(element) {
  const text = element.textContent;
  element.remove();
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function joined(bytes, width) {
  const n = bytes.length / width, values = new Float64Array(n);
  for (let k = 0, weight = 1; k < width; k++, weight *= 256)
    for (let i = 0, at = k * n; i < n; i++, at++) values[i] += bytes[at] * weight;
  return values;
}

function undoDifferences(plane, columns) {
  for (let start = 0; start < plane.length; start += columns)
    for (let i = start + 1; i < start + columns; i++) plane[i] += plane[i - 1];
  return plane;
}

// Resolves to {live: Uint8Array, block_size: Float64Array, …}.
async function decode(facts, element) {
  const bytes = bytesOf(element), found = {};
  await Promise.all(Object.entries(facts.directory).map(async ([name, form]) => {
    const raw = await inflate(bytes.subarray(form.start, form.start + form.bytes));
    found[name] = form.width ? joined(raw, form.width) : undoDifferences(raw, facts.columns);
  }));
  return found;
}

function running(steps) {
  for (let i = 1; i < steps.length; i++) steps[i] += steps[i - 1];
  return steps;
}

function blocksFrom(found, facts) {
  const place = running(found.block_step), size = found.block_size, n = place.length;
  const born = found.block_idle, died = found.block_lived, kind = new Uint8Array(n);
  for (let i = 0; i < n; i++) {
    const before = i && place[i] === place[i - 1] ? died[i - 1] : 0;
    born[i] = (before + born[i]) % OVERLAP;
    died[i] += born[i];
    kind[i] = found.block_own[i] ? facts.class_tops.length + 1 : classOf(size[i], facts.class_tops);
  }
  const blocks = {n, place, size, born, died, kind, thread: found.block_thread, slot: found.block_slot, own: found.block_own};
  return {...blocks, bySize: indexBySize(blocks)};
}

function classOf(size, tops) {
  let k = 0;
  while (k < tops.length && size > tops[k]) k++;
  return k;
}

// Blocks of 2^(k-1) < size <= 2^k, as rows in order of their places, for each k there is.
function indexBySize(blocks) {
  const lists = new Map();
  for (let i = 0; i < blocks.n; i++) {
    const most = 2 ** Math.ceil(Math.log2(Math.max(1, blocks.size[i])));
    if (!lists.has(most)) lists.set(most, []);
    lists.get(most).push(i);
  }
  return [...lists].map(([most, rows]) => ({most, rows: Uint32Array.from(rows), places: Float64Array.from(rows, (i) => blocks.place[i])}));
}
