"""Computing a finished run's scores once more, from the data, the weights and its checkpoints."""

from __future__ import annotations

import numpy as np

from panda_core.errors import BrokenRun
from panda_core.events import result_of
from panda_core.few_shot.table import is_generalisation
from panda_core.methods.stopping import used_checkpoints
from panda_core.runs.adapt.evaluate import Evaluation, Measured, Space
from panda_core.runs.adapt.inputs import set_up
from panda_core.runs.adapt.loop import final_scores, new_learner
from panda_core.runs.data import check_unchanged
from panda_core.runs.few_shot.loop import generalise, prepare_generalisation
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.plan import prepare, prepare_segmentation
from panda_core.runs.segment.loop import SegmentSnapshot, segment
from panda_core.runs.tensors import read_head, read_space, read_tail


def recompute_final_scores(loaded: LoadedRun) -> np.ndarray:
    """Return the final scores (M,) of a finished run, computed anew; `BrokenRun` if it is not finished."""
    if loaded.metrics is None:
        raise BrokenRun(f"Run `{loaded.run_id}` is not finished. `python -m panda_core resume` continues it.")
    if is_generalisation(loaded.config):
        few_shot = prepare_generalisation(loaded.config)
        check_unchanged(loaded.run_id, loaded.split, few_shot.task)
        found = generalise(few_shot)
        return [item for item in found if isinstance(item, SegmentSnapshot)][-1].arrays["scores"]
    if loaded.is_segmentation:
        segmentation = prepare_segmentation(loaded.config)
        check_unchanged(loaded.run_id, loaded.split, segmentation.task)
        items = segment(segmentation)
        return [item for item in items if isinstance(item, SegmentSnapshot)][-1].arrays["scores"]
    plan = prepare(loaded.config)
    check_unchanged(loaded.run_id, loaded.split, plan.task)
    inputs = result_of(set_up(plan))
    space_file = loaded.folder.path / "space.safetensors"
    space = Space.from_tensors(plan, read_space(space_file, plan.network, str(plan.config.feature_norm)))
    learner = new_learner(plan.config, plan.network, plan.device)
    evaluation = Evaluation(plan, inputs, space, learner)
    history: list[Measured] = []
    stop, ses_start = plan.recipe.stop, plan.config.set.get("ses_start")
    needed = loaded.evaluated if stop == "ses" else used_checkpoints(loaded.evaluated, stop, ses_start)
    for event in needed:
        file = loaded.folder.path / "checkpoints" / f"{event.step:06d}.safetensors"
        plan.network.tail.load_state_dict(read_tail(file, plan.network), strict=False)
        learner.keep(**read_head(file))
        features = result_of(evaluation.features(plan.network.tail))
        history.append(result_of(evaluation.measure(features, event.step, event.images_seen, history, began=0.0)))
    learner.close()
    return final_scores(plan, history).scores
