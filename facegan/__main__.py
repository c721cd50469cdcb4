"""`python -m facegan` is the command `facegan`."""

from facegan.cli import main

if __name__ == "__main__":
    main()
