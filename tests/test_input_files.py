"""Files that users name: only ordinary ones are read, and none without end."""

import os
import socket

import pytest

from allocsim.errors import InputError, printable
from allocsim.input_files import check_input, open_input, read_bytes, read_text


def test_an_ordinary_file_is_read(tmp_path):
    file = tmp_path / "costs.toml"
    file.write_text("größe = 1\n", encoding="utf-8")
    assert read_text(file) == "größe = 1\n"
    assert read_bytes(str(file)) == file.read_bytes()
    with open_input(file) as opened:
        assert opened.read() == file.read_bytes()


@pytest.mark.parametrize("reader", [read_text, read_bytes, open_input, check_input])
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_devices_are_refused(reader, path):
    with pytest.raises(InputError, match=f"{path}: cannot be read: .*device") as refusal:
        reader(path)
    assert "\n" not in str(refusal.value)


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match=r"fifo: cannot be read: .*pipe"):
        read_text(tmp_path / "fifo")


def test_a_socket_and_a_folder_are_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(InputError, match="socket: cannot be read"):
            read_text(tmp_path / "socket")
    with pytest.raises(InputError, match="cannot be read: it is a folder"):
        read_text(tmp_path)


def test_a_link_to_a_device_is_refused(tmp_path):
    (tmp_path / "link.toml").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="device"):
        read_bytes(tmp_path / "link.toml")


def test_a_link_to_itself_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="loop: cannot be read: Too many levels"):
        read_bytes(tmp_path / "loop")


def test_more_bytes_than_allowed_are_refused_before_they_are_read(tmp_path):
    file = tmp_path / "sparse"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(InputError, match="more than 2,097,152 bytes"):
        read_text(file)
    with pytest.raises(InputError, match="more than 10 bytes"):
        check_input(file, max_bytes=10)
    check_input(file)


def test_files_that_tell_no_size_are_read_to_the_limit():
    assert "[stack]" in read_text("/proc/self/maps")
    with pytest.raises(InputError, match="more than 100 bytes"):
        read_text("/proc/self/maps", max_bytes=100)


@pytest.mark.parametrize("name", ["a\0b", "\udcff\ud800", "x" * 5000, "", "none", "a/\x1b[31m"])
def test_names_that_no_file_has_are_refused_in_one_printable_line(name):
    with pytest.raises(InputError, match="cannot be read") as refusal:
        read_text(name)
    assert str(refusal.value).isprintable()


def test_text_in_another_encoding_is_refused_with_its_line(tmp_path):
    file = tmp_path / "latin.toml"
    file.write_bytes("ok = 1\nname = 'gr\xf6\xdfe'\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.toml:2: .*not a UTF-8 text \(byte 0xf6\)"):
        read_text(file)


def test_text_that_could_steer_a_terminal_is_written_out():
    assert printable("a\x1b[31mb\n\u202e\udcff c") == r"a\x1b[31mb\n\u202e\udcff c"
    assert printable("größe 中") == "größe 中"
