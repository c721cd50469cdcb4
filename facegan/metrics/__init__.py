"""Numbers that say how near made pictures are to real ones."""
