"""`python -m wsisr` is `wsisr`."""

from wsisr.cli.app import main

if __name__ == "__main__":
    main()
