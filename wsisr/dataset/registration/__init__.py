"""Where the pixels of one capture of a specimen lie in another capture of it, found coarse to fine and gated."""
