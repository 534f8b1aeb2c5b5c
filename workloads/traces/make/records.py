"""Writes orders of made-up customers as JSON, for jq to group and count."""

import json
import random

rng = random.Random(7)
WORDS = ["bolt", "nut", "washer", "hinge", "bracket", "screw", "anchor", "spring"]
orders = [
    {
        "order": n,
        "customer": f"customer {rng.randrange(300)}",
        "paid": rng.random() < 0.9,
        "lines": [
            {"item": rng.choice(WORDS), "n": rng.randrange(1, 50), "price": rng.randrange(5, 900)}
            for _ in range(rng.randrange(1, 6))
        ],
        "note": " ".join(rng.choices(WORDS, k=rng.randrange(12))),
    }
    for n in range(1500)
]
print(json.dumps(orders))
