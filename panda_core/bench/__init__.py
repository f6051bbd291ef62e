"""Grids: many runs in one table, beside the published figures."""
