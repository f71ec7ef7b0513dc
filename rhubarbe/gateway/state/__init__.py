"""What commands tell each other of, and keep below `state_dir`: locks, journal, history."""
