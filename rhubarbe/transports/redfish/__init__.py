"""Redfish, as the controllers (BMC) of many machines speak it."""
