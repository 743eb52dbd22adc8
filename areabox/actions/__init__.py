"""What happens: sources are polled, heard, called or due, and whatever they yield becomes an event, once.

    inbox          items → events, seen keys, cursor and first jobs in one transaction
    subscriptions  which sources are wanted, shared by all areas that ask for the same
    hooks          the hot path: a webhook's delivery → an event
    triggers       when a schedule fires, pure
    schedule       fires what is due
    poller         asks the sources that must be asked
    listener       keeps the streams open
    retention      what may be forgotten

Nothing here knows areas or runs: whoever makes runs of events comes in as `inbox.Starter`.
"""
