"""Analyses, proposals and merges for people: text, Markdown and pictures."""
