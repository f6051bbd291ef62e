"""Which checkpoints of a run are still needed: a run of the app keeps all, for its film, one of a grid few."""

from __future__ import annotations

from panda_core.events import Evaluated
from panda_core.methods.stopping import used_checkpoints
from panda_core.methods.table import RECIPES
from panda_core.records import write_json
from panda_core.runs.adapt.layers import moved_by_layer
from panda_core.runs.folder import CHECKPOINTS, GALLERIES, RunFolder


def drop_unneeded(folder: RunFolder) -> None:
    """Remove the checkpoints and galleries of an adaptation that its stop rule will not look at.

    While it runs, a rule that takes the last needs the last two, since numbers may have ended at the last; and the
    first stays, to say how far layers have moved. The alarm chooses at the end; sample-wise stopping needs all. Curves,
    scores and pictures of all steps lie in `arrays/` and stay.
    """
    config = folder.config()
    recipe = RECIPES.get(config.recipe)
    if recipe is None or recipe.stop == "ses":
        return
    evaluated = [event for event, _ in folder.events() if isinstance(event, Evaluated)]
    if folder.written_state() == "finished":
        write_json(folder.moved_file, moved_by_layer(folder))
        kept = {event.step for event in used_checkpoints(evaluated, recipe.stop, config.set.get("ses_start"))}
    elif recipe.stop == "last":
        kept = {event.step for event in (*evaluated[:1], *evaluated[-2:])}
    else:
        return
    for name in (CHECKPOINTS, GALLERIES):
        folder.keep_only(name, kept)
