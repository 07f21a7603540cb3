"""A job file and the texts it names, on the researcher's disk."""

from __future__ import annotations

from pathlib import Path

from node.documents import Fault, Invalid
from node.home.jobfile import UPLOAD_MAX_BYTES, JobFile
from node.home.toml_file import load
from protocol.errors import Refused


def read_job(file: Path) -> tuple[JobFile, list[Path]]:
    """The job and its texts. Raises Invalid, naming every fault of the file, then every text that cannot be had; and
    Refused for a text outside the file's own folder."""
    job = load(file, JobFile)
    texts = [_beside(file, name) for name in job.training.data]
    faults = []
    for index, text in enumerate(texts):
        complaint = _complaint(text)
        if complaint:
            faults.append(Fault(f"training.data.{index}", f"{text} {complaint}"))
    if faults:
        cause = f"{file}: " + "; ".join(map(str, faults))
        raise Invalid("HEL-JOB-001", cause, "Put the text beside the job file, or correct its name.", tuple(faults))
    return job, texts


def _beside(file: Path, name: str) -> Path:
    """The path of a text. A job file from a stranger must not send away what it has no business with: whoever trains
    the job sees its texts."""
    folder = file.resolve().parent
    text = (folder / name).resolve()
    if not text.is_relative_to(folder):
        raise Refused(
            "HEL-JOB-008",
            f"{file} names {name!r}, which lies outside its own folder {folder}",
            "Its content would be sent to the peers that train. If that is wanted, copy it beside the job file.",
        )
    return text


def _complaint(text: Path) -> str:
    if not text.exists():
        return "is missing"
    if not text.is_file():
        return "is no file"
    size_bytes = text.stat().st_size
    if size_bytes == 0:
        return "is empty"
    if size_bytes > UPLOAD_MAX_BYTES:
        return f"has {size_bytes} bytes; at most {UPLOAD_MAX_BYTES} are taken"
    return ""
