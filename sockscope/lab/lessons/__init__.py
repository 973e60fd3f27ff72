"""Lessons: experiments that are told, asked about, and checked to have shown what they say (docs/lessons.md).

``*.toml`` here are the lessons, ``code/*.py`` what some of them run besides the servers and clients of
SockScope.
"""
