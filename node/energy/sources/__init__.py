"""One file per kind of source: the section of `config.toml` that names it, and how it is read.

`section.open(place)` makes the Source; a library that only this source needs is imported there. What each service
answers, and its traps, stands at the top of its file.
"""
