"""`python -m perceivers.cli`, which is also how `accelerate launch -m perceivers.cli` starts several processes."""

from perceivers.cli.app import main

if __name__ == "__main__":
    main()
