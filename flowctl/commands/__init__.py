"""One command a module. Nothing heavy is imported at the top: a command's `--help` imports it too."""
