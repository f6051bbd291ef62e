"""Record the runs that come with the program: `python assets/record_runs.py`.

Each is made by the project's own `run` command, from the settings of a preset, and then stripped of what only
computing needs: what is left is read as any run folder is. Takes a minute or two on two cores.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pages.shared.presets import EXAMPLE, PRESETS  # noqa: E402
from panda_core.config import RunConfig  # noqa: E402
from panda_core.records import read_arrays, read_json, read_lines, write_arrays, write_json  # noqa: E402

RECORDED = ROOT / "assets" / "recorded"
NAMES = {"break": "Break it", "ses": "Sample-wise stopping"}
DROPPED = ("checkpoints", "galleries", "momentum", "banks", "space.safetensors", "lock", "stop", "output.log")
MOST_BYTES = 4_000_000


def main() -> None:
    """Record every preset of `NAMES`, and the example of the Segment page."""
    for preset in PRESETS:
        if preset.key in NAMES:
            record(preset.key, RunConfig(name=NAMES[preset.key], **fields_of(preset.settings)))
    record("segment", RunConfig(**EXAMPLE))
    size = sum(path.stat().st_size for path in RECORDED.rglob("*") if path.is_file())
    print(f"{size / 1e6:.2f} MB in {RECORDED.relative_to(ROOT)}")
    if size > MOST_BYTES:
        sys.exit("That is too much to ship: record fewer evaluations or test images.")


def record(key: str, config: RunConfig) -> None:
    """Compute a run and keep it under a name made of `key` and what it looks at."""
    with tempfile.TemporaryDirectory() as runs_dir:
        command = [sys.executable, "-m", "panda_core", "run", *config.replace(runs_dir=runs_dir).to_flags()]
        subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603  made of the presets above
        (made,) = (path for path in Path(runs_dir).iterdir() if (path / "config.json").is_file())
        keep(made, RECORDED / f"{key}-{config.dataset.rpartition(':')[2]}-{config.normal_class}")


def fields_of(settings: Any) -> dict[str, Any]:
    """Return the config fields of a preset's settings."""
    options = {key.removeprefix("set_"): value for key, value in settings.items() if key.startswith("set_")}
    return {key: value for key, value in settings.items() if not key.startswith("set_")} | {"set": options}


def keep(made: Path, target: Path) -> None:
    """Copy the run folder `made` to `target` without what only computing needs, and without places of this machine."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(made, target, ignore=shutil.ignore_patterns(*DROPPED))
    config = read_json(target / "config.json") | {"data_root": "data", "runs_dir": "runs"}
    write_json(target / "config.json", config)
    write_json(target / "state.json", {"state": "finished", "since": 0, "reason": ""})
    environment = read_json(target / "environment.json")
    private = ("platform", "processors", "threads", "started")
    write_json(target / "environment.json", {key: environment[key] for key in environment if key not in private})
    lines = [record for record, _ in read_lines(target / "events.jsonl") if record["event"] != "Stepped"]
    for line in lines:
        if line["event"] == "RunStarted":
            line |= {"run_id": target.name, "config": config}
    text = "".join(json.dumps(line) + "\n" for line in lines if line["event"] != "CacheProgress")
    (target / "events.jsonl").write_text(text, encoding="utf-8")
    for path in target.glob("*/*.npz"):  # arrays, and the maps of a segmentation
        write_arrays(path, {name: lighter(name, array) for name, array in read_arrays(path).items()})


def lighter(name: str, array: np.ndarray) -> np.ndarray:
    """Return an array in the smallest type that a picture needs; scores stay as they are."""
    if name == "neighbours" or name.startswith("origins_"):
        return array.astype(np.int16)
    if name == "neighbour_distances" or name.startswith("distances_"):
        return array.astype(np.float16)
    if name.startswith("projection_"):
        return array.astype(np.float32)  # not less: after a collapse, points differ in the seventh digit
    return array


if __name__ == "__main__":
    main()
