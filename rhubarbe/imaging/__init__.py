"""Annexe: imagezip, imageunzip and imagedump."""
