"""The command line: a client of the HTTP API that finds its way to it, and a few commands for the machine's owner.

    main     the commands and where they live; errors → exit codes
    call     what every command gets: settings, output, questions
    client   the API: at an address, at the daemon of this data directory, or in this process
    output   JSON, tables, times

One file per group of commands; each is imported when it is used, so that `areabox version` stays fast.
"""
