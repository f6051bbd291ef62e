"""Rivals of a run: other recipes from the same images, start and seed, started together and watched side by side."""

from __future__ import annotations

from pages.shared.forms.named import choose_several
from pages.shared.frame.glossary import tip
from panda_core.config import RunConfig
from panda_core.figures import style
from panda_core.methods.table import RECIPES
from panda_core.runs.kinds import options_of, resolve

MOST = len(style.RUNS) - 1  # besides the run itself: each has a colour
# Recipes that adapt the default network, and need no images besides the normal ones: all have the same start.
RACING = [
    key
    for key, recipe in RECIPES.items()
    if recipe.steps and recipe.auxiliary is None and recipe.backbone == RECIPES["panda-early"].backbone
]


def choose_rivals(recipe: str) -> list[str]:
    """Draw the choice of rivals, and return their recipes. recipe: of the run itself; it has none of another start."""
    if recipe not in RACING:
        return []
    names = {key: RECIPES[key].title for key in RACING if key != recipe}
    return choose_several("Add a rival", names, "rivals", MOST, tip("rivals"), "Race up to three other recipes")


def rivals_of(config: RunConfig, recipes: list[str]) -> list[RunConfig]:
    """Return the settings of a run and of its rivals: all are the same but the recipe, and what only one knows."""
    filled = resolve(config)
    same = config.replace(steps=filled.steps, lr=filled.lr, eval_every=filled.eval_every, batch_size=filled.batch_size)
    known = {recipe: options_of(same.replace(recipe=recipe, set={})) for recipe in recipes}
    return [
        same,
        *(
            same.replace(recipe=recipe, set={key: value for key, value in same.set.items() if key in known[recipe]})
            for recipe in recipes
        ),
    ]
