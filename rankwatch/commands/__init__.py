"""One file a command of ``rankwatch``: what it takes, and what it does.

Torch takes seconds to load, so each command imports what it needs when it runs.
"""
