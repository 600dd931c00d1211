"""The terminal UI. Nothing outside this package imports Textual or this package, but `conservator.agent.cli.tui`, in its function."""
