"""The page: the viewer's sources, the facts of each map and its data, in one file."""

import base64
import html
import json
from importlib.resources import files
from string import Template

from allocsim.heapmap.heap_map import HeapMap

_SCRIPTS = ("data", "model", "text", "colours", "pane", "axes", "app", "input")


def page_of(workload: str, maps: list[HeapMap]) -> str:
    """An HTML page that needs no other file and no network."""
    title = f"Heap map: {workload} under {', '.join(each.facts['policy'] for each in maps)}"
    facts = {"workload": workload, "maps": [each.facts for each in maps]}
    return Template(_viewer("page.html")).substitute(
        title=html.escape(title),
        style=_viewer("style.css"),
        facts=json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c"),
        data="\n".join(_data(number, each) for number, each in enumerate(maps)),
        script="\n".join(_viewer(f"{name}.js") for name in _SCRIPTS),
    )


def _viewer(name: str) -> str:
    return files("allocsim.heapmap").joinpath("viewer", name).read_text(encoding="utf-8")


def _data(number: int, each: HeapMap) -> str:
    text = base64.b64encode(each.data).decode("ascii")
    return f'<script type="text/plain" id="data-{number}">{text}</script>'
