"""What makes a Debian machine a gateway: a plan of steps, each shown, done, and undone."""
