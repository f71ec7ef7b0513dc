"""Put disk images on many bare-metal nodes at once, save one back, know when nodes are ready."""
