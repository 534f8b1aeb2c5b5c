"""A page of a small run, and its data decoded by another way than the page's own."""

import base64
import json
import re
import zlib

import numpy as np
import pytest

from allocsim.trace import Trace, write_trace


class Page:
    """A page as text, and what it holds."""

    def __init__(self, path):
        self.path, self.text = path, path.read_text()
        facts = re.search(r'<script type="application/json" id="facts">(.*?)</script>', self.text)
        self.maps = json.loads(facts[1])["maps"]

    def column(self, number, name):
        """A column of numbers of one of the maps."""
        data = re.search(rf'id="data-{number}">(.*?)</script>', self.text)[1]
        form = self.maps[number]["directory"][name]
        start = form["start"]
        raw = zlib.decompress(base64.b64decode(data)[start : start + form["bytes"]])
        by_weight = np.frombuffer(raw, np.uint8).reshape(form["width"], -1).astype(np.int64)
        return (by_weight << 8 * np.arange(form["width"])[:, None]).sum(axis=0)

    def blocks(self, number):
        """Place, size, born, died and own of each block."""
        names = ("step", "size", "idle", "lived", "own")
        step, size, idle, lived, own = (self.column(number, f"block_{name}") for name in names)
        born, died = idle.copy(), idle + lived
        for i in range(1, len(step)):
            if step[i] == 0:
                born[i] = died[i - 1] + idle[i]
                died[i] = born[i] + lived[i]
        return np.cumsum(step), size, born, died, own


@pytest.fixture
def make_page(tmp_path, allocsim_here):
    """Makes the page of a trace, or of a shipped workload, under policies."""

    def make(workload, *arguments):
        if isinstance(workload, Trace):
            write_trace(tmp_path / "ops.parquet", workload)
            workload = tmp_path / "ops.parquet"
        output = tmp_path / "map.html"
        code, _, errors = allocsim_here("heapmap", workload, "-o", output, *arguments)
        assert code == 0, errors
        return Page(output)

    return make
