"""`python -m splat_uff` is the same as `splat-uff`."""

from splat_uff.cli import main

if __name__ == "__main__":
    main()
