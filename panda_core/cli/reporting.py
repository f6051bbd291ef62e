"""`report`: a run as one HTML file that opens anywhere, with no network."""

from __future__ import annotations

import argparse
from pathlib import Path

from panda_core.cli.output import print_json, print_text
from panda_core.errors import UsageError
from panda_core.records import write_atomically
from panda_core.report.run_report import report_of
from panda_core.runs.loaded import load_run


def report_command(parsed: argparse.Namespace) -> int:
    """Write the report of a run."""
    target = Path(parsed.output)
    check_page(target, "--output")
    loaded = load_run(parsed.run, parsed.runs_dir)
    content = report_of(loaded).encode()
    write_page(target, content)
    if parsed.json:
        print_json({"run": loaded.run_id, "file": str(target), "bytes": len(content)})
    else:
        print_text(f"{target}: {len(content) / 1e6:.1f} MB")
    return 0


def check_page(target: Path, flag: str) -> None:
    """Raise `UsageError` unless `target` can be the name of a page."""
    if target.suffix.lower() not in (".html", ".htm") or target.is_dir():
        raise UsageError(f"`{flag}` must name a file that ends in .html; got `{target}`. Set `{flag} report.html`.")


def write_page(target: Path, content: bytes) -> None:
    """Write a page at once."""
    write_atomically(target, lambda file: file.write(content))
