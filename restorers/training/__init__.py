"""Training shared by the restorers: crops, synthesis on the fly, the loop."""
