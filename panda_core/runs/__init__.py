"""Runs: planned, computed, recorded, queued, read back."""
