"""Registration of the pixels of one capture of a specimen in another, coarse to fine, with acceptance limits."""
