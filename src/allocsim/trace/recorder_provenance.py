"""What is known of a recorded program besides its ops: the provenance of its trace."""

import errno
import os
import platform
from datetime import UTC, datetime
from typing import Any

from allocsim.platform_support import cpu_model
from allocsim.trace.provenance import Provenance
from allocsim.trace.recorder_convert import Converter
from allocsim.trace.recorder_ending import Ending
from allocsim.trace.recorder_process import Process

_STOP_REASONS = {
    errno.ENOSPC: "the disk was full",
    errno.EDQUOT: "the disk quota was used up",
    errno.EFBIG: "a log reached the program's limit on the size of files",
    errno.EMFILE: "the program had no file descriptor left",
    errno.ENFILE: "the system had no file descriptor left",
    errno.EACCES: "the program's user may not write to the folder of the logs",
    errno.EPERM: "the program may not write to the folder of the logs",
    errno.ENOENT: "the folder of the logs was out of the program's reach",
}


def stop_reason(process: Process) -> str:
    """Why the recording of `process` stopped before its end; empty if it did not."""
    if process.stopped is None:
        return ""
    error = process.stop_error
    return _STOP_REASONS.get(error) or os.strerror(error)


def provenance_of(
    process: Process, converter: Converter, ending: Ending, is_main: bool
) -> Provenance:
    """Of the trace that `converter` has made; `ending` is that of the main process."""
    return Provenance(
        program=process.program,
        arguments=process.arguments[1:],
        machine=_machine(),
        c_library=" ".join(platform.libc_ver()),
        recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        written_source="estimated",
        notes=_notes(process, converter, ending),
        extras={
            "recording": ending.recording,
            "allocator_environment": process.environment,
            **_figures(process, converter, ending if is_main else None),
        },
    )


def explained(extras: dict[str, Any]) -> str:
    """The share of peak resident memory that the trace accounts for at its own peak."""
    peak = extras.get("peak_rss_bytes")
    if not peak:
        return "peak RSS unknown"
    share = extras["explained_share_of_peak_rss"]
    text = f"explains {share:.0%} of the peak RSS of {peak / 1e6:.1f} MB"
    if files := extras.get("file_rss_bytes"):
        text += f" ({files / peak:.0%} is code and other files)"
    return text


def _machine() -> str:
    return f"{cpu_model()}, {platform.system()} {platform.release()}"


def _notes(process: Process, converter: Converter, ending: Ending) -> str:
    notes = [
        "written: of blocks of 16 KiB or more, the bytes in resident pages when the block was "
        "freed or the program ended; all of smaller ones",
        "touches of mappings: their resident bytes at the end, as if written from the start",
    ]
    if converter.survey.n_assumed:
        notes.append(
            f"{converter.survey.n_assumed} big blocks lived when the program was killed or "
            "replaced by exec: taken as written in full"
        )
    if process.allocator_is_foreign:
        notes.append("the program's allocator is not the C library's")
    if reason := stop_reason(process):
        notes.append(f"the recording stopped early: {reason}")
    if ending.wait_status is None:
        notes.append("`allocsim record` was killed before the program ended")
    return "; ".join(notes)


def _figures(process: Process, converter: Converter, ending: Ending | None) -> dict[str, Any]:
    """What the program itself needed, as far as it is known, and what the trace explains of it."""
    totals = converter.totals
    figures: dict[str, Any] = {
        "explained_peak_bytes": totals.explained_peak_bytes,
        "unseen_allocations": totals.unseen_allocations,
        "unseen_frees": totals.unseen_frees,
        "file_and_shared_mappings": process.other_mappings,
    }
    if process.has_ended:
        if process.peak_kib:
            figures["peak_rss_bytes"] = process.peak_kib * 1024
            figures["file_rss_bytes"] = process.file_kib * 1024
        figures["minor_faults"] = process.minor_faults - process.faults_before
        figures["major_faults"] = process.major_faults
        figures["cpu_ns"] = process.cpu_ns
    elif ending is not None and ending.wait_status is not None:
        figures |= _figures_of_killed(process, ending)
    if peak := figures.get("peak_rss_bytes"):
        figures["explained_share_of_peak_rss"] = round(totals.explained_peak_bytes / peak, 4)
    return figures


def _figures_of_killed(process: Process, ending: Ending) -> dict[str, Any]:
    """From the parent's view; the kernel's peak starts at that of the process's former program,
    so it tells nothing unless it grew."""
    figures: dict[str, Any] = {
        "minor_faults": ending.minor_faults - process.faults_before,
        "major_faults": ending.major_faults,
        "cpu_ns": ending.cpu_ns,
    }
    if ending.peak_kib > process.start_peak_kib:
        figures["peak_rss_bytes"] = ending.peak_kib * 1024
    return figures
