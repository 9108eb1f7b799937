"""Run the command with `python -m sansio_stream_adapters.cli`."""

from . import main

if __name__ == "__main__":
    main()
