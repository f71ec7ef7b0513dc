"""Whether this machine is fit for what a command will do, said before anything is touched."""
