"""What real machines boot: the ramdisk, and a small system to try it with, from Debian packages."""
