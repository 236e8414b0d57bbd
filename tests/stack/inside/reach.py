"""Which of some addresses (HOST:PORT) this container can open a connection to."""

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor


def reach(place: str) -> str:
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
    except OSError as error:
        return type(error).__name__
    return "open"


places = sys.argv[1:]
# At once: a name that nobody knows takes ten seconds.
with ThreadPoolExecutor(len(places)) as pool:
    print(json.dumps(dict(zip(places, pool.map(reach, places), strict=True))))
