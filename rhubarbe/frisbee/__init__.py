"""Annexe: the frisbee protocol on the wire, server and client."""
