"""What runs on the gateway for the length of one command."""
