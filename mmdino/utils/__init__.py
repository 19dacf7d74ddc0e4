"""What no one part of the package owns: files, the command line, the environment."""
