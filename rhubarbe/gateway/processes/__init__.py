"""Programs that run on this machine for the length of one command, and who ends them."""
