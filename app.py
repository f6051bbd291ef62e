"""The server of the web app: `streamlit run app.py`. What a visit runs is `main.py`."""

from __future__ import annotations

import streamlit as st
from starlette.middleware import Middleware

from pages.shared.frame.first_request import FirstRequest

app = st.App("main.py", middleware=[Middleware(FirstRequest)])
