"""A run as a command and as Python, to copy: its settings without the folders of this machine."""

from __future__ import annotations

import streamlit as st

from panda_core.config import RunConfig


def show_as_code(config: RunConfig) -> None:
    """Draw the two blocks; data and runs are looked for where whoever pastes them has theirs."""
    here = RunConfig()
    portable = config.replace(data_root=here.data_root, runs_dir=here.runs_dir)
    st.code(portable.to_command(), language="bash", wrap_lines=True)
    st.code(portable.to_python(), language="python", wrap_lines=True)
