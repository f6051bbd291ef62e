"""Runs that learn from some classes and judge another from a few references."""
