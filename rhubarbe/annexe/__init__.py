"""What all programs of the annexes do alike: options, errors, other programs that they run."""
