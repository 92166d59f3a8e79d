"""Endurance: a whole system for half an hour at its own pace, and whether anything grew.

Three rules hold.
What is judged is a line fitted through many samples of one process's life, never two points.
Some gateways live all along: their memory and descriptors are judged, while short visits come and
go on them. The others are the ones that are restarted and killed.
Waits are compared between moments in which nothing was done to the system.

`sample` is what was seen at one moment, `verdict` what samples amount to, `picture` draws them; all
three are pure. `fleet`, `asking`, `watching` and `visiting` are the load, `chaos` is what happens
to it.
"""
