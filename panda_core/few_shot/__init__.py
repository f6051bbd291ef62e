"""Detection on classes that were never trained on, from a few normal references. `table` lists the methods."""
