"""Files that describe a machine."""

import pytest

from allocsim.errors import InputError
from allocsim.machine import Machine


def test_a_machine_file_is_refused_with_its_lines(tmp_path):
    path = tmp_path / "machine.toml"
    path.write_text('bits = 48\ncosts = "absent.toml"\n"a\\u001b" = 1\n')
    with pytest.raises(InputError) as refusal:
        Machine.load(path)
    bits, costs, unknown = str(refusal.value).splitlines()
    assert bits.startswith(f"{path}:1: bits: unknown value '48'")
    assert costs.startswith(f"{path}:2: costs: {tmp_path / 'absent.toml'}: cannot be read")
    assert unknown.startswith(rf"{path}:3: a\x1b: unknown key")
    path.write_text('bits = 32\nmemory_bytes = "64M"\n')
    assert Machine.load(path) == Machine(bits=32, memory_bytes=64 << 20)
