"""The end of every form that describes a run: what is wrong with it, the button that starts it, and the run as code."""

from __future__ import annotations

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from panda_core.config import RunConfig
from panda_core.errors import PandaError
from panda_core.runs.launch import start


def show_start(config: RunConfig | None, problem: str, *, key: str, about: str, label: str = "Start") -> str | None:
    """Draw the end of a form, and return the id of the run that a press has just started, else None: see `pressed`."""
    return start_run(config) if pressed(config, problem, key=key, about=about, label=label) and config else None


def pressed(config: RunConfig | None, problem: str, *, key: str, about: str, label: str = "Start") -> bool:
    """Draw the end of a form, and return whether its button was pressed.

    config: what the form describes, None where that cannot be run. problem: why, or "" where there is nothing to say.
    key, label: of the button; about: its tooltip.

    The button has no callback: that would start what the form described before the last field was changed, where
    somebody types a value and presses at once.
    """
    if problem:
        st.warning(wording.sentence(problem), icon=":material/info:")
    started = st.button(
        label,
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        key=key,
        disabled=config is None,
        help=about,
    )
    if config is None:
        return False
    with st.popover("Copy as command or Python", icon=":material/terminal:", width="stretch", help=tip("copy_command")):
        show_as_code(config)
    return started


def start_run(config: RunConfig) -> str | None:
    """Start a run and return its id; say why not, and return None, where it cannot be started."""
    try:
        return start(config).run_id
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/error:")
        return None


def show_as_code(config: RunConfig) -> None:
    """Draw a run as a command and as Python, to copy.

    Folders of this machine are left out: data and runs are looked for where whoever pastes it has theirs.
    """
    here = RunConfig()
    portable = config.replace(data_root=here.data_root, runs_dir=here.runs_dir)
    st.code(portable.to_command(), language="bash", wrap_lines=True)
    st.code(portable.to_python(), language="python", wrap_lines=True)
