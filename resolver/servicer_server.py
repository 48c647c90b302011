"""The gRPC server of a node: limits, TLS, health, reflection, start and graceful stop."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from registry.access import ANYONE, Access
from registry.errors import UnavailableError
from resolver.servicer_guard import Guard

__all__ = ["ACCESS", "GrpcServer", "GrpcSettings", "TlsFiles"]

#: Health and reflection show nothing but which services there are.
ACCESS: Access = {
    f"/{HEALTH}/Check": ANYONE,
    f"/{HEALTH}/Watch": ANYONE,
    f"/{HEALTH}/List": ANYONE,
    f"/{reflection.SERVICE_NAME}/ServerReflectionInfo": ANYONE,
}

_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What TLS needs, as PEM: the private key and the certificate chain."""

    key_pem: bytes
    chain_pem: bytes


@dataclass(frozen=True, slots=True)
class GrpcSettings:
    """Where the door listens and what it bears.

    Attributes:
        address: `host:port`; port 0 takes a free one.
        share_port: several processes listen on one port (`serve --workers`).
        max_request_bytes: larger requests are refused; 2,000 drafts with long values fit.
        max_streams: concurrent calls on one connection.
        max_calls: concurrent calls of the process; more are refused with RESOURCE_EXHAUSTED.
        idle_seconds: a connection without calls is closed after this time.
        ping_seconds: a silent connection is probed after this time; the answer is awaited for `ping_timeout_seconds`.
    """

    address: str = "127.0.0.1:8801"
    share_port: bool = False
    max_request_bytes: int = 16 * _MEBIBYTE
    max_streams: int = 1_000
    max_calls: int = 10_000
    idle_seconds: int = 600
    ping_seconds: int = 60
    ping_timeout_seconds: int = 20

    def options(self) -> tuple[tuple[str, int], ...]:
        """Return them in grpc's own words."""
        return (
            ("grpc.so_reuseport", int(self.share_port)),
            ("grpc.max_receive_message_length", self.max_request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", self.max_streams),
            ("grpc.max_connection_idle_ms", self.idle_seconds * 1000),
            ("grpc.keepalive_time_ms", self.ping_seconds * 1000),
            ("grpc.keepalive_timeout_ms", self.ping_timeout_seconds * 1000),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.max_metadata_size", 16 * 1024),
        )


class GrpcServer:
    """One listening gRPC server; must be made and used inside the running event loop.

    Servicers are added to `guard`, which takes the place of a server in the generated functions; then `start`.
    """

    def __init__(
        self, *, settings: GrpcSettings, guard: Guard, services: Sequence[str], tls: TlsFiles | None = None
    ) -> None:
        self._settings = settings
        self._guard = guard
        self._services = tuple(services)
        self._tls = tls
        self._health: Any = _Health(("", *self._services))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, guard)
        names = (*self._services, HEALTH, reflection.SERVICE_NAME)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            reflection.aio.ReflectionServicer(names), guard
        )
        self._server: Any = None

    async def start(self) -> int:
        """Listen and serve; return the port.

        Raises:
            UnavailableError: the address cannot be listened on.
        """
        server = grpc.aio.server(
            handlers=(self._guard,),
            options=self._settings.options(),
            maximum_concurrent_rpcs=self._settings.max_calls,
        )
        try:
            port: int = (
                server.add_insecure_port(self._settings.address)
                if self._tls is None
                else server.add_secure_port(self._settings.address, _credentials(self._tls))
            )
        except RuntimeError as error:
            raise UnavailableError(
                "resolver.door.port_taken", field="grpc", value=self._settings.address
            ) from error
        await server.start()
        self._server = server
        await self.set_serving(serving=True)
        return port

    async def set_serving(self, *, serving: bool) -> None:
        """Tell health checks whether the node answers."""
        status = health_pb2.HealthCheckResponse
        for name in ("", *self._services):
            await self._health.set(name, status.SERVING if serving else status.NOT_SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, let the running ones end within the grace, close."""
        if self._server is None:
            return
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)
        self._server = None


class _Health(health_aio.HealthServicer):  # type: ignore[misc]  # grpcio comes without types
    """The library's health service, with the list it leaves out."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = tuple(names)

    async def List(self, _request: Any, context: Any) -> Any:  # noqa: N802 — the protocol's own name
        """Say how every service is."""
        asked = health_pb2.HealthCheckRequest
        statuses = {name: await self.Check(asked(service=name), context) for name in self._names}
        return health_pb2.HealthListResponse(statuses=statuses)


def _credentials(tls: TlsFiles) -> Any:
    return grpc.ssl_server_credentials([(tls.key_pem, tls.chain_pem)])
