"""The one door to what users share: below `state_dir`, and wherever others may write.

Whoever may write into a directory may lay there links, pipes, and files without end or sense. So a
directory is opened once and looked at; what is in it is reached through that descriptor, never
through a link, and read within bounds; what is written is fresh, and renamed when it is whole.
What a thing says of its owner counts for nothing: its owner is who the kernel says owns it.
"""
