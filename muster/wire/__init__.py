"""The wire protocol, v1: what nodes and gateways say to each other.

Values in, values out: no sockets, no clock, nothing of the other rooms. `reading` turns a frame
of a node into a message, `replies` a frame of a gateway; `codec` turns messages into frames.
"""
