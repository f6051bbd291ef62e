"""Runs that adapt a network, or score its frozen features."""
