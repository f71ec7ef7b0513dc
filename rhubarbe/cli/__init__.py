"""Front door of the suite: from argv to an exit code."""
