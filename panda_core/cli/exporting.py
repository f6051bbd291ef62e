"""`export`: a run's detector as ONNX, as TorchScript or as a bundle, checked before it takes its place."""

from __future__ import annotations

import argparse
from pathlib import Path

from panda_core.cli.output import print_json, print_text
from panda_core.errors import UsageError
from panda_core.runs.loaded import load_run

SUFFIXES = {"onnx": (".onnx",), "torchscript": (".pt", ".ts"), "bundle": ()}


def export_command(parsed: argparse.Namespace) -> int:
    """Write the detector of a run."""
    result: dict[str, object]
    target, suffixes = Path(parsed.out), SUFFIXES[parsed.format]
    loaded = load_run(parsed.run, parsed.runs_dir)
    if parsed.format == "bundle":
        from panda_core.export.bundle import write_bundle

        bundle = write_bundle(loaded, target)
        size, result = bundle.size, {"files": bundle.files}
        summary = f"{bundle.files} files. Open it with `panda_core.load_bundle`."
    else:
        from panda_core.export.network_file import write_network

        if target.suffix.lower() not in suffixes or target.is_dir():
            raise UsageError(
                f"`OUT` must name a file that ends in {' or '.join(suffixes)}; got `{target}`. "
                f"Set it to `{target.stem or 'detector'}{suffixes[0]}`."
            )
        file = write_network(loaded, target, parsed.format)
        size, result = file.size, {"difference": file.difference, "checked_on": file.images}
        given = "scores and maps equal" if loaded.has_maps else "scores equal"
        summary = f"{given} the run's to {max(file.difference, 1e-7):.0e} on {file.images}."
    if parsed.json:
        print_json({"run": loaded.run_id, "format": parsed.format, "file": str(target), "bytes": size, **result})
    else:
        print_text(f"{target}: {size / 1e6:.1f} MB; {summary}")
    return 0
