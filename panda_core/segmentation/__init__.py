"""Where the defect is: distances of patches to normal patches, as maps. `table` lists the methods."""
