"""Put disk images on many bare-metal nodes at once, save one back, know when nodes are ready."""

# For checkers of types, as that of `typing`, which takes as long to import as a short command to
# do its work: modules that every command starts with take this one.
TYPE_CHECKING = False
