"""`python -m server` is `toprung serve`."""

from server.cli import serve

if __name__ == "__main__":
    serve()
