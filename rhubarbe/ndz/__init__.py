"""The ndz image format: chunk header, regions, seal; inflate and check, without disk or network."""
