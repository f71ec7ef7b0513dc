"""Annexe: the emulated testbed."""
