"""The small file in a recording that says how the program ended."""

from pathlib import Path

import pytest

from allocsim.errors import InputError
from allocsim.trace.recorder_ending import NAME, read_ending


@pytest.mark.parametrize("text", ["[" * 20_000, "{", "[]", '{"pid": {}}', "\x1b"])
def test_a_damaged_one_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(InputError, match="not a folder that `allocsim record` kept"):
        read_ending(tmp_path)
