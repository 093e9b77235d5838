"""The subcommands: each is one typed function that parses, calls one stage and prints."""
