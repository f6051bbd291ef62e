"""`generalize`: train on seen classes and test on a new one from a few references."""

from __future__ import annotations

import argparse
from pathlib import Path

from panda_core.cli.map_files import check_target
from panda_core.cli.running import record
from panda_core.errors import unknown_name


def generalize_command(parsed: argparse.Namespace) -> int:
    """Train on seen classes, judge a new one; print the metrics, and write the maps where asked to."""
    from panda_core.cli.arguments import config_of
    from panda_core.few_shot.table import GENERALISERS
    from panda_core.runs.plan import resolve

    if parsed.recipe not in GENERALISERS:
        raise unknown_name("way to generalise", parsed.recipe, GENERALISERS, "--recipe")
    config = resolve(config_of(parsed))
    if parsed.maps:
        check_target(Path(parsed.maps))
    return record(parsed, config)
