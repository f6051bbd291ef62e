"""Which upload a run learns from, and where the cache of its images lies: told by the path of its data set alone."""

from __future__ import annotations

import os
import re
from pathlib import Path

from panda_core.config import RunConfig, default_cache_dir
from panda_core.datasets.io.places import uploads_folder
from panda_core.datasets.own.folder import PREFIX

TOKEN = re.compile(r"[0-9a-f]{16,64}")  # the name of an upload's folder
_LEARNED = re.compile(rf"(?:^|/)uploads/({TOKEN.pattern})(?:/|$)")


def cache_of(config: RunConfig) -> Path:
    """Return the folder for what a frozen network makes of the images of a run: an upload's own, else the cache's."""
    token = upload_of(config)
    return default_cache_dir() if token is None else uploads_folder() / token / "cache"


def upload_of(config: RunConfig) -> str | None:
    """Return the token of the upload that a run learns from, or None.

    Told by the form of the path, wherever uploads lie now: a data root that has moved makes no run public.
    """
    match = _LEARNED.search(os.path.normpath(config.dataset.partition(PREFIX)[2]).replace(os.sep, "/"))
    return match[1] if match else None
