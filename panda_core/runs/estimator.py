"""What scikit-learn asks of a detector: its arguments by name, and what it takes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Self

from panda_core.config import RunConfig
from panda_core.errors import unknown_name
from panda_core.runs.given import named_region

if TYPE_CHECKING:
    from sklearn.utils import Tags

# What `get_params` returns and `set_params` takes: the fields of a config, but for the data set.
PARAMETERS = tuple(field.name for field in dataclasses.fields(RunConfig) if field.name != "dataset")


class Estimator:
    """An estimator whose arguments are `PARAMETERS`, kept as they were given."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments of the constructor by name, as given. deep: for scikit-learn; nothing lies deeper."""
        return {name: getattr(self, name) for name in PARAMETERS}

    def set_params(self, **params: Any) -> Self:
        """Change arguments of the constructor, for the next `fit`. Returns self."""
        for name, value in params.items():
            if name not in PARAMETERS:
                raise unknown_name("argument of PandaDetector", name, PARAMETERS, "set_params")
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Tags:
        """Say to scikit-learn what this takes. It is no outlier detector of its kind: those predict 1 for normal."""
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            input_tags=InputTags(two_d_array=False),
            no_validation=True,
        )

    def __repr__(self) -> str:
        default = type(self)().get_params()
        params = self.get_params()
        params["roi"] = named_region(params["roi"]) or None
        changed = [f"{name}={value!r}" for name, value in params.items() if value != default[name]]
        return f"{type(self).__name__}({', '.join(changed)})"
