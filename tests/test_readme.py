"""What the README prints is what happens."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ALLOCSIM = Path(sys.executable).with_name("allocsim")


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)[number]


@pytest.mark.slow
def test_the_first_example_prints_what_the_readme_says(tmp_path):
    (tmp_path / "pages.py").write_text(block("python"))
    command, _, output = block("console").partition("\n")
    arguments = command.removeprefix("$ allocsim ").split()
    done = subprocess.run(
        [ALLOCSIM, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == output.strip()


def test_links_and_make_targets_exist():
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / path).exists(), path
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?:`|\$ )make ([a-z-]+)", README)) <= targets


def test_commands_that_the_readme_names_exist():
    known = subprocess.run([ALLOCSIM, "--help"], capture_output=True, text=True, check=True).stdout
    for name in set(re.findall(r"allocsim ([a-z]+)", README)) - {"elsewhere", "replays"}:
        assert name in known, name
