"""ABX errors: how often two spans of one label are less alike than one of them and a span of another label."""
