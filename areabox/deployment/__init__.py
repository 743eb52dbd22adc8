"""How areabox meets the machine it runs on: settings, start and stop, the service manager, the doctor, housekeeping.

    settings      flags, environment and file → one frozen value, with the origin of each part
    lifecycle     listen, say so, watch for signals, stop in order
    notify        what systemd is told
    check         the doctor: everything that a user would ask
    housekeeping  nothing grows without limit
"""
