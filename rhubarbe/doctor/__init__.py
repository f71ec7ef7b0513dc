"""Examines a gateway, and what it talks to, before a site goes live and whenever something is odd.

One file a check, and one table of them. A check only looks: it changes nothing, and says of each
thing that it is well, or what is wrong and the command that repairs it.
"""
