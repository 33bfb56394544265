"""`python -m hushnet` is the `hush` command."""

from hushnet.cli.main import main

if __name__ == "__main__":
    main()
