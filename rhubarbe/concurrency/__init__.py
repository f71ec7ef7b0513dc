"""Work beside other work: in threads, within limits of time, until something else fails."""
