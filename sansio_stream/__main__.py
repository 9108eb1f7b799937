"""Runs the command `sansio-stream` with `python -m sansio_stream`, or says how to install it.

This is the only module of the core that imports another package of the project, and the only one
that prints. `import sansio_stream` does not load it.
"""

import sys

if __name__ == "__main__":
    try:
        from sansio_stream_tools import main
    except ModuleNotFoundError as error:
        if error.name != "sansio_stream_tools":
            raise
        sys.exit(
            "sansio_stream is a library. The command is a separate package:"
            " pip install 'sansio-stream[cli]'"
        )
    main()
