"""Runs that compare patches, and give maps."""
