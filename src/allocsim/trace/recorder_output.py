"""Where the traces of a recording go: never over another recording unless that is wanted."""

import glob
import re
from pathlib import Path

from allocsim.errors import InputError
from allocsim.outputs import AtomicFile
from allocsim.trace.files import open_trace
from allocsim.trace.recorder_process import Process


def check_output(output: Path, recording: str, *, force: bool) -> None:
    """Raise InputError unless the traces of `recording` may be written to `output` and beside it.

    With `force`, traces of other recordings may be there, and what `output` was.
    """
    AtomicFile(output)  # refuses what is no place for a file
    if ".csv" in (suffix.lower() for suffix in output.suffixes):
        parquet = output.with_name(output.name.partition(".")[0] + ".parquet")
        raise InputError(
            f"{output}: recordings are written as Parquet; name it {parquet}, then "
            f"`allocsim trace export {parquet} -o {output}`"
        )
    if force:
        return
    for path in [output, *_beside(output)]:
        if path.exists() and _recording_of(path) != recording:
            raise InputError(
                f"{path}: there already; give another -o, or --force to replace an earlier "
                "recording and the traces of its children"
            )


def remove_stale(output: Path, recording: str) -> None:
    """Remove the traces that children of earlier recordings left beside `output`."""
    for path in _beside(output):
        if _recording_of(path) not in ("", recording):
            path.unlink()


def path_of_child(output: Path, number: int, process: Process) -> Path:
    """The trace of a process that was not the program's own."""
    name = re.sub(r"[^\w.+-]", "_", process.name, flags=re.ASCII)
    return output.with_name(f"{output.stem}.{number}-{name:.100}{output.suffix}")


def _beside(output: Path) -> list[Path]:
    """What `path_of_child` may have named."""
    stem, suffix = glob.escape(output.stem), glob.escape(output.suffix)
    found = output.parent.glob(f"{stem}.[0-9]*-*{suffix}")
    start = len(output.stem) + 1
    return sorted(path for path in found if re.match(r"\d+-", path.name[start:]))


def _recording_of(path: Path) -> str:
    """The recording that a trace belongs to; empty if it is none."""
    try:
        extras = open_trace(path).provenance.extras
    except InputError:
        return ""
    unnamed = "unnamed" if "explained_peak_bytes" in extras else ""
    return str(extras.get("recording", unnamed))
