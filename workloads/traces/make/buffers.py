"""A cache of compressed buffers from 20 KB to 3 MB, of which the oldest are dropped."""

import random
import zlib

random.seed(1)
line = bytes(range(256)) * 8
cache = {}
for i in range(700):
    size = int(20_000 * 150 ** random.random())
    raw = (line * (size // len(line) + 1))[:size]
    text = bytearray(raw)
    text[::4096] = b"x" * len(text[::4096])
    cache[i] = (bytes(text), zlib.compress(text, 1))
    if len(cache) > 25:
        del cache[random.choice(sorted(cache)[:15])]
    if i % 10 == 0:
        joined = b"".join(packed for _, packed in cache.values())
print(len(cache), sum(len(packed) for _, packed in cache.values()))
