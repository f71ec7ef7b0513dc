"""What is on a disk, read from bytes that anybody may have written: tables, ranges, ext.

All is read by a function that returns bytes, be it of a disk, of a file or of the disk in an image.
"""
