"""Runs: resolved, prepared, computed, recorded, read back."""
