"""An Inlive API on this machine: mints tokens, refuses expired ones, and fails in every way it is told to."""
