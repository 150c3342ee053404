"""An Inlive API on this machine. It mints tokens, refuses expired ones, and fails on demand."""
