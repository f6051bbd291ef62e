"""`doctor`, `datasets`, `backbones`, `recipes`, `scorers`: what there is, and whether it works here."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from panda_core.backbones import BACKBONES
from panda_core.cli.output import print_json, print_table, print_text
from panda_core.config import Option, default_cache_dir, default_runs_dir
from panda_core.datasets import DATASETS, Dataset
from panda_core.datasets.io.counts import count_images
from panda_core.datasets.own.outliers import (
    IMAGENET_SAMPLE,
    IMAGENET_SAMPLE_SOURCE,
    imagenet_sample_missing,
    outlier_images,
)
from panda_core.errors import PandaError
from panda_core.runs.kinds import KINDS
from panda_core.scoring.table import SCORERS
from panda_core.torchvision_operators import declare_operators

# What a run cannot do without: by the name of its module, that of its package.
PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "onnxruntime": "onnxruntime",
    "faiss": "faiss-cpu",
    "sklearn": "scikit-learn",
    "safetensors": "safetensors",
    "cv2": "opencv-python-headless",
    "plotly": "plotly",
}

# Data sets that are made on the spot.
MADE: tuple[dict[str, Any], ...] = (
    {
        "key": "folder:PATH",
        "title": "Images of your own",
        "about": "one folder of normals; normals and anomalies; train/<class>/ and test/<class>/; MVTec layout",
        "source": "you",
        "licence": "yours",
        "noncommercial": False,
        "citation": "",
        "image_size": 128,
        "available": True,
        "get": "",
        "classes": [],
    },
    {
        "key": "synthetic:KEY",
        "title": "Synthetic defects",
        "about": "defects drawn into normal images of the data set KEY, or of folder:PATH, with exact masks",
        "source": "this program, from the images of KEY",
        "licence": "that of KEY",
        "noncommercial": None,
        "citation": "",
        "image_size": None,
        "available": True,
        "get": "",
        "classes": [],
    },
)


def datasets(parsed: argparse.Namespace) -> int:
    """List the data sets: key, title, classes, licence, here or how to get it; as JSON counts of images, too."""
    rows: list[dict[str, Any]] = []
    for key, dataset in DATASETS.items():
        missing = dataset.missing(Path(parsed.data_root))
        counts, problem = _counts(dataset, Path(parsed.data_root)) if parsed.json and missing is None else (None, "")
        rows.append(
            {
                "key": key,
                "title": dataset.title,
                "about": dataset.about,
                "source": dataset.source,
                "licence": dataset.licence,
                "noncommercial": dataset.noncommercial,
                "citation": dataset.citation,
                "image_size": dataset.image_size,
                "available": missing is None,
                "get": missing or "",
                "can_download": dataset.download is not None,
                "classes": list(dataset.classes(Path(parsed.data_root))),
                "counts": counts,
                "problem": problem,
            }
        )
    rows += [*MADE, _imagenet_sample(Path(parsed.data_root))]
    code = _print(parsed, "Data sets", rows, ("key", "title", "licence", "noncommercial", "available"))
    if not parsed.json:  # sentences too long for a column of the table
        for row in rows:
            if row["get"]:
                print_text(f"\n{row['key']}: {row['get']}")
    return code


def _imagenet_sample(root: Path) -> dict[str, Any]:
    """Return the row of the images that runs learn beside, not from."""
    missing = imagenet_sample_missing(root)
    return {
        "key": IMAGENET_SAMPLE,
        "title": "Sample of ImageNet",
        "about": "one image of each class: outliers for outlier exposure, labelled ones for EWC; not scored",
        "source": IMAGENET_SAMPLE_SOURCE,
        "licence": "ImageNet's: non-commercial research and education",
        "noncommercial": True,
        "citation": "Russakovsky, O. et al. ImageNet Large Scale Visual Recognition Challenge. IJCV 115(3), 2015.",
        "image_size": None,
        "available": missing is None,
        "get": missing or "",
        "classes": [],
        "images": 0 if missing else len(outlier_images(IMAGENET_SAMPLE, root)),
    }


def _counts(dataset: Dataset, root: Path) -> tuple[dict[str, dict[str, int]] | None, str]:
    """Return (counts of each class, ""), or (None, what is wrong with the copy that is here)."""
    try:
        counts = count_images(dataset, root)
    except PandaError as error:
        return None, str(error)
    return {name: dataclasses.asdict(row) for name, row in counts.items()}, ""


def backbones(parsed: argparse.Namespace) -> int:
    """List the pretrained networks."""
    rows = [
        {
            "key": key,
            "title": row.title,
            "source": row.source,
            "licence": row.licence,
            "available": row.missing() is None,
            "get": row.missing() or "",
            "feature_norm": row.feature_norm,
            "lr": row.lr,
            "options": _options(row.options),
        }
        for key, row in BACKBONES.items()
    ]
    rows.append(
        {
            "key": "timm:NAME",
            "title": "Any network of timm, for instance timm:resnet152.tv_in1k",
            "source": "timm, Wightman 2019",
            "licence": "see timm's model card",
            "available": True,
            "get": "downloaded by timm on first use",
            "feature_norm": "none",
            "lr": 0.01,
            "options": {},
        }
    )
    return _print(parsed, "Backbones", rows, ("key", "title", "licence", "available", "get"))


def recipes(parsed: argparse.Namespace) -> int:
    """List the recipes with their options, each with the command that runs it."""
    rows = [
        {
            "key": key,
            "command": kind.command,
            "title": row.title,
            "about": row.about,
            "source": row.source,
            "licence": "",
            "available": True,
            "steps": getattr(row, "steps", 0),
            "paper_steps": getattr(row, "paper_steps", None),
            "options": _options(row.options),
        }
        for kind in KINDS
        for key, row in kind.recipes.items()
    ]
    return _print(parsed, "Recipes", rows, ("key", "command", "title", "about", "source"))


def scorers(parsed: argparse.Namespace) -> int:
    """List the scorers with their options."""
    rows = [
        {
            "key": key,
            "title": row.title,
            "source": row.source,
            "licence": "",
            "available": True,
            "options": _options(row.options),
        }
        for key, row in SCORERS.items()
    ]
    return _print(parsed, "Scorers", rows, ("key", "title", "source"))


def _options(options: Mapping[str, Option]) -> dict[str, Any]:
    return {
        key: {
            "default": option.default,
            "help": option.help,
            "low": option.low,
            "high": option.high,
            "choices": option.choices,
        }
        for key, option in options.items()
    }


def _print(parsed: argparse.Namespace, title: str, rows: list[dict[str, Any]], shown: tuple[str, ...]) -> int:
    if parsed.json:
        print_json(rows)
    else:
        words = {True: "yes", False: "no", None: ""}
        print_table(title, shown, [[words.get(row[key], str(row[key])) for key in shown] for row in rows])
        described = [(row["key"], row["options"]) for row in rows if row.get("options")]
        for key, options in described:
            print_text(f"\n{key} --set")
            for name, option in options.items():
                print_text(f"  {name}={option['default']}  {option['help']}")
    return 0


def doctor(parsed: argparse.Namespace) -> int:
    """Check what a run needs; exit 1 if something essential does not work.

    Packages are looked up in a moment; with `--load` each is imported, which takes seconds and finds broken ones too.
    """
    checks: list[dict[str, Any]] = []

    def check(name: str, essential: bool, look: Callable[[], str]) -> None:
        try:
            found, works = look(), True
        except Exception as error:  # a check reports whatever is wrong, it never stops the others
            found, works = f"{type(error).__name__}: {error}", False
        checks.append({"check": name, "works": works, "essential": essential, "found": found})

    check("Python", True, lambda: sys.version.split()[0])
    version = _loaded if parsed.load else _installed
    for module, package in PACKAGES.items():
        check(module, True, lambda module=module, package=package: version(module, package))  # type: ignore[misc]
    for key, backbone in BACKBONES.items():
        check(f"weights of {key}", True, lambda row=backbone: row.missing() or "installed")  # type: ignore[misc]
    for key, dataset in DATASETS.items():
        look = lambda row=dataset: row.missing(Path(parsed.data_root)) or "here"  # noqa: E731
        check(f"data set {key}", key == "digits", look)  # comes with scikit-learn
    check("cache folder", True, lambda: _writable("PANDA_CACHE_DIR"))
    check("runs folder", True, lambda: _writable("runs"))
    if parsed.load:
        check("device", False, _device)
    for item in checks:
        if item["check"].startswith(("weights", "data set")) and item["found"] not in ("installed", "here"):
            item["works"] = False
    if parsed.json:
        print_json(checks)
    else:
        marks = {(True, True): "ok", (True, False): "ok", (False, True): "BROKEN", (False, False): "absent"}
        rows = [[marks[item["works"], item["essential"]], item["check"], item["found"]] for item in checks]
        print_table("Doctor", ("", "what", "found"), rows)
        if not parsed.load:
            print_text("Packages were looked up. `doctor --load` also imports each of them, and names the device.")
    return 0 if all(item["works"] or not item["essential"] for item in checks) else 1


def _installed(module: str, package: str) -> str:
    """Return the version of a package that is there, whether it can be imported or not."""
    if importlib.util.find_spec(module) is None:
        raise PandaError(f"`{package}` is not installed. `pip install {package}`.")
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # built under another name: faiss-gpu
        return "installed"


def _loaded(module: str, package: str) -> str:
    """Return the version of a package that can be imported."""
    if module in ("torchvision", "timm"):
        declare_operators()
    return str(getattr(importlib.import_module(module), "__version__", "installed"))


def _device() -> str:
    import torch

    kinds = [("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())]
    found = [kind for kind, here in kinds if here]
    return ", ".join([*found, f"cpu ({torch.get_num_threads()} threads)"])


def _writable(which: str) -> str:
    folder = default_cache_dir() if which == "PANDA_CACHE_DIR" else Path(default_runs_dir())
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise PandaError(f"`{folder}` cannot be written")
    return str(folder)
