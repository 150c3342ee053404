"""Keeps short-lived Inlive access tokens fresh, so that no consumer is ever without a valid one."""

__version__ = "0.1.0"
