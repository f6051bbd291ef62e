"""Export: a run's detector as one graph that scores images, or as a folder or archive that holds all of it."""
