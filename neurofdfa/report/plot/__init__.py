"""Plots by matplotlib, each a small panel that fits a phone; the page sets them side by side."""
