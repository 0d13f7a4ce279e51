"""`python -m enlarger` is `enlarger`."""

from enlarger.cli import main

if __name__ == "__main__":
    main()
