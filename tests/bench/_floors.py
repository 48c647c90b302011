"""The floors: the least a server on the same libraries can do.

python -m tests.bench._floors grpc    an empty grpc.aio handler: takes bytes, returns none
python -m tests.bench._floors asgi    a bare ASGI application on uvicorn with httptools and uvloop
"""

import asyncio
import json
import socket
import sys
from typing import Any

import grpc
import uvicorn
import uvloop

EMPTY = "/hazlink.bench.Floor/Empty"
_BODY = b'{"responseCode":1}'


async def _empty(_request: bytes, _context: Any) -> bytes:
    return b""


async def serve_grpc() -> None:
    server = grpc.aio.server()
    handlers = {"Empty": grpc.unary_unary_rpc_method_handler(_empty)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("hazlink.bench.Floor", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"port": port}), flush=True)
    await server.wait_for_termination()


async def bare(scope: Any, _receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _BODY})


def serve_asgi(app: Any, sock: socket.socket) -> None:
    """Serve on a socket that already listens; the same settings for floor and subject."""
    print(json.dumps({"port": sock.getsockname()[1]}), flush=True)
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", lifespan="off", log_level="warning", access_log=False
    )
    uvicorn.Server(config).run(sockets=[sock])


def listening() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0), backlog=2048)
    sock.set_inheritable(True)
    return sock


if __name__ == "__main__":
    if sys.argv[1] == "grpc":
        uvloop.run(serve_grpc()) if "--uvloop" in sys.argv else asyncio.run(serve_grpc())
    else:
        serve_asgi(bare, listening())
