"""Alarms to services that take alerts."""
