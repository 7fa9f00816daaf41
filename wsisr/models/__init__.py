"""Networks, their weights files, and the ones that ship with wsisr."""
