"""Run the command with `python -m sansio_stream_tools`."""

from . import main

if __name__ == "__main__":
    main()
