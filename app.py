"""The server of the web app: `streamlit run app.py`. What a visit runs is `main.py`."""

from __future__ import annotations

import os

import streamlit as st
from starlette.middleware import Middleware

from pages.shared.frame.first_request import FirstRequest
from panda_core.threads import thread_settings

os.environ.update(thread_settings())  # before the first visit, which imports NumPy

app = st.App("main.py", middleware=[Middleware(FirstRequest)])
