"""Record the runs that come with the program: `python assets/record_runs.py`.

Each is made by the project's own `run` command, from the settings of a preset, stripped of what only computing needs,
and packed into one archive: unpacked, it is read as any run folder is. Takes some ten minutes on two cores. CIFAR-10
must lie in the data root for its runs; where it does not, those recorded before stay. `python assets/record_runs.py
ewc-10` records one. `maps-elpv-mono` comes with `break-elpv-mono`, whose checkpoints it needs.
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

from pages.shared.forms.presets import (  # noqa: E402
    EXAMPLE,
    PRESETS,
    STRENGTHS,
    elastic_settings,
    ship_settings,
    strength_key,
)
from pages.shared.player.time_machine_maps import maps_config  # noqa: E402
from panda_core.config import RunConfig  # noqa: E402
from panda_core.errors import DataMissing  # noqa: E402
from panda_core.records import read_arrays, read_json, read_lines, write_arrays, write_json  # noqa: E402
from panda_core.runs.adapt.layers import moved_by_layer  # noqa: E402
from panda_core.runs.folder import RunFolder  # noqa: E402
from panda_core.runs.kinds import open_task, resolve  # noqa: E402
from panda_core.runs.loaded import LoadedRun  # noqa: E402
from panda_core.runs.recorded import pack  # noqa: E402

RECORDED = ROOT / "assets" / "recorded"
DROPPED = ("checkpoints", "galleries", "momentum", "banks", "space.safetensors", "lock", "stop", "output.log")
KEEPS = {"segment-elpv-mono": ("banks",)}  # run -> what is kept of those: its detector judges what people paint
NEIGHBOURS = ("neighbours", "neighbour_distances")  # left out of what is there for its curves alone
PATCHES = ("origins_", "distances_", "cells")  # left out of what is there for the heatmap of the time machine alone
MOST_BYTES = 8_000_000
PLAIN: dict[str, Any] = {
    "recipe": "panda-early",
    "image_size": 64,
    "batch_size": 16,
    "steps": 80,
    "eval_every": 5,
    "set": {"cut": "blocks.2", "weight_decay": 0.0},
}
CIFAR_CLASSES = ("automobile", "horse")  # of which adapting in the default space only takes
WITH_MAPS = {"break-elpv-mono": "maps-elpv-mono"}  # run -> the maps with each of its checkpoints, recorded with it


def recordings() -> dict[str, RunConfig]:
    """Return key -> settings of every run that is recorded."""
    by_key = {preset.key: preset for preset in PRESETS}
    runs = {
        f"{key}-digits-9": RunConfig(name=name, **fields_of(by_key[key].settings))
        for key, name in (("break", "Digits, too far"), ("ses", "Sample-wise stopping"), ("ewc", "Elastic weights"))
    }
    for strength in STRENGTHS:
        name = f"Elastic weights, strength {strength:,.0f}"
        runs[strength_key(strength)] = RunConfig(name=name, **fields_of(elastic_settings(strength)))
    for key, recipe, name in (
        ("break", "panda-early", "Ships, nothing held"),
        ("ses", "panda-ses", "Ships, sample-wise stopping"),
        ("ewc", "panda-ewc", "Ships, elastic weights"),
    ):
        runs[f"{key}-cifar10-ship"] = RunConfig(name=name, **fields_of(ship_settings(recipe)))
    solar: dict[str, Any] = {"dataset": "elpv", "normal_class": "mono", "train_limit": 150, "test_limit": 150}
    # In the raw space of the paper, in which adapting solar cells helps.
    runs["break-elpv-mono"] = RunConfig(name="Solar cells", feature_norm="none", lr=10.0, **solar, **PLAIN)
    # In it as well: here adapting learns what whitening does not give.
    nines: dict[str, Any] = {"dataset": "digits", "normal_class": "9", "test_limit": 300}
    runs["raw-digits-9"] = RunConfig(name="Digits, features as they are", feature_norm="none", lr=2.0, **nines, **PLAIN)
    for name in CIFAR_CLASSES:
        task: dict[str, Any] = {"dataset": "cifar10", "normal_class": name, "train_limit": 200, "test_limit": 200}
        runs[f"break-cifar10-{name}"] = RunConfig(name=f"CIFAR-10, {name}", lr=3.0, **task, **PLAIN)
    return runs | {"segment-elpv-mono": RunConfig(**EXAMPLE)}


def main() -> None:
    """Record the runs named on the command line, or all."""
    runs = recordings()
    if unknown := set(sys.argv[1:]) - set(runs):
        sys.exit(f"There is no recording called {', '.join(sorted(unknown))}. Known: {', '.join(runs)}.")
    for key in sys.argv[1:] or runs:
        try:
            open_task(resolve(runs[key]))
        except DataMissing as error:
            print(f"{key} stays as it is. {error}")
            continue
        record(key, runs[key])
    size = sum(path.stat().st_size for path in RECORDED.iterdir())
    print(f"{size / 1e6:.2f} MB in {RECORDED.relative_to(ROOT)}")
    if size > MOST_BYTES:
        sys.exit("That is too much to ship: record fewer evaluations or test images.")


def record(key: str, config: RunConfig) -> None:
    """Compute a run and keep it as `key`.zip."""
    with tempfile.TemporaryDirectory() as runs_dir:
        made = computed(config.replace(runs_dir=runs_dir))
        keep(made, key)
        if key in WITH_MAPS:
            maps = maps_config(LoadedRun(RunFolder(made))).replace(runs_dir=runs_dir, test_limit=48)
            keep(computed(maps), WITH_MAPS[key], adapted=key)


def computed(config: RunConfig) -> Path:
    """Return the folder of a run, computed by a process of its own."""
    before = set(Path(config.runs_dir).iterdir())
    command = [sys.executable, "-m", "panda_core", "run", *config.to_flags()]
    subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603  made of the presets above
    (made,) = (path for path in set(Path(config.runs_dir).iterdir()) - before if (path / "config.json").is_file())
    return made


def fields_of(settings: Any) -> dict[str, Any]:
    """Return the config fields of a preset's settings."""
    options = {key.removeprefix("set_"): value for key, value in settings.items() if key.startswith("set_")}
    return {key: value for key, value in settings.items() if not key.startswith("set_")} | {"set": options}


def keep(made: Path, key: str, adapted: str = "") -> None:
    """Pack the run folder `made` without what only computing needs, and without places of this machine.

    adapted: the recorded run whose checkpoints a segmentation used; of its maps, the values alone are then kept.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / key
        dropped = [name for name in DROPPED if name not in KEEPS.get(key, ())]
        shutil.copytree(made, target, ignore=shutil.ignore_patterns(*dropped))
        strip(made, target, adapted)
        pack(target, RECORDED / f"{key}.zip")


def strip(made: Path, target: Path, adapted: str) -> None:
    """Rewrite the files of `target`, a copy of the run folder `made`, as `keep` says."""
    if RunFolder(made).fisher_file.is_file():
        write_json(RunFolder(target).moved_file, moved_by_layer(RunFolder(made)))
    config = read_json(target / "config.json") | {"data_root": "data", "runs_dir": "runs"}
    config["set"] |= {"adapted": adapted} if adapted else {}
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
        dropped = NEIGHBOURS if config["dataset"] == "cifar10" or config["recipe"] == "panda-ewc" else ()
        dropped += PATCHES if adapted else ()
        arrays = {name: array for name, array in read_arrays(path).items() if not name.startswith(dropped)}
        write_arrays(path, {name: lighter(name, array) for name, array in arrays.items()})


def lighter(name: str, array: np.ndarray) -> np.ndarray:
    """Return an array in the smallest type that a picture needs; scores stay as they are."""
    if name == "neighbours" or name.startswith("origins_"):
        return array.astype(np.int16)
    if name == "neighbour_distances" or name.startswith("distances_"):
        return array.astype(np.float16)
    if name.endswith("grids"):
        return array.astype(np.float16).astype(np.float32)  # packs as well, and is read as any other
    if name.startswith(("projection_", "refit_")):
        return array.astype(np.float32)  # not less: after a collapse, points differ in the seventh digit
    return array


if __name__ == "__main__":
    main()
