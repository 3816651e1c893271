"""The `condense` command: parsing, progress and errors. What a command does lies in the other packages."""
