"""What rhubarbe does: one coroutine a verb, which returns an Outcome and never prints."""
