"""The process that sends: lanes for one purchase after the other, until whoever started it is gone.

In: reading what is said over the socket, and passing answers back. Out: who says it (`resources.engine_process`), the
lanes (`resources.lane_engine`). Started as `python -m resources.engine_worker DESCRIPTOR`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from multiprocessing.connection import Connection

from resources.engine_process import BEGIN, CANCEL, ENDED, OFFER
from resources.errors import ServerError
from resources.lane_engine import EngineSettings, LocalEngine, import_engine
from resources.scratch import remove_own_folder


def serve(connection: Connection) -> None:
    """Run what is asked for; returns when the other side has closed the connection, however that came about."""
    engine: LocalEngine | None = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            what, content = connection.recv()
            if what == BEGIN:
                engine = _begun(content, connection)
            elif what == CANCEL and engine is not None:
                engine.cancel()
            elif engine is not None:
                # An engine that cannot start says so among its results.
                with contextlib.suppress(ServerError):
                    engine.offer(content) if what == OFFER else engine.finish()


def _begun(settings: EngineSettings, connection: Connection) -> LocalEngine:
    engine = LocalEngine(settings)
    engine.start()
    threading.Thread(target=_pass_on, args=(engine, connection), daemon=True).start()
    return engine


def _pass_on(engine: LocalEngine, connection: Connection) -> None:
    """Send what the lanes answer. The engine's last word is an error, of no interest when all is answered."""
    with contextlib.suppress(OSError):
        while not isinstance(said := engine.results.get(), BaseException):
            connection.send(said)
        connection.send(said if isinstance(said, ServerError) else _in_words(said))
        engine.join()
        # Of one that hangs nothing is said: whoever waits for it kills this process.
        if engine.has_ended:
            connection.send(ENDED)


def _in_words(error: BaseException) -> ServerError:
    fact = f"Sending failed: {type(error).__name__}: {error}."
    return ServerError(fact, "What was answered before is kept. This is a fault of synth_assets: please report it.")


def main() -> None:
    """Serve the process that has started this one, and end with it at once, whatever is in flight."""
    # While the first request is being planned over there.
    threading.Thread(target=import_engine, daemon=True).start()
    serve(Connection(int(sys.argv[1])))
    remove_own_folder()
    os._exit(0)


if __name__ == "__main__":
    main()
