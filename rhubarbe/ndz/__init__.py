"""The ndz image format: chunk header, regions; inflate and check, without disk or network."""
