"""The subcommands: each one typed function that parses, calls one stage and prints."""
