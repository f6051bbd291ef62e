"""Ways to learn from normal images: `table` lists them, every other file is one method or what several share."""
