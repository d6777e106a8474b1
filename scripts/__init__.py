"""The project's commands; importable so that tests use the same host and model family."""
