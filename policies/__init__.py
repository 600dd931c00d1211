"""Decisions as data and pure functions: what to treat, with what, in which order, and whether it helped."""
