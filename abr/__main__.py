"""`python -m abr` is the `toprung` command."""

from abr.cli import main

if __name__ == "__main__":
    main()
