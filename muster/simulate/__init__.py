"""A fleet that is not there: many nodes' sockets, driven to see what a deployment can carry.

It knows the wire and nothing else of ours. `run` starts `worker` processes; each holds a `herd` of
`node`s and keeps a `book` of what they saw; `verdict` says what the books amount to.
"""
