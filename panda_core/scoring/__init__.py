"""Scores of features against normal features, higher = more anomalous. `table` lists the scorers."""
