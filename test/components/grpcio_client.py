"""Calls a server with Python's grpcio (gRPC's C core) and prints what came of each call, one JSON object a line."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
HEALTH = "/grpc.health.v1.Health/"
SEARCH = "/tempopb.StreamingQuerier/Search"
# SearchRequest { Query: "{}" }
QUERY = b"\x42\x02{}"
UNLIMITED = [("grpc.max_send_message_length", -1)]


def same(message):
    return message


def tell(name, code, answer=b"", details=""):
    print(json.dumps({"name": name, "code": code, "answer": answer.hex(), "details": details}), flush=True)


def unary(channel, name, path, message, **options):
    call = channel.unary_unary(path, request_serializer=same, response_deserializer=same)
    try:
        tell(name, "OK", call(message, timeout=options.pop("timeout", 30), **options))
    except grpc.RpcError as error:
        tell(name, error.code().name, details=error.details())


def watch(channel, name):
    call = channel.unary_stream(HEALTH + "Watch", request_serializer=same, response_deserializer=same)
    stream = call(b"")
    tell(name, "OK", next(stream))
    stream.cancel()
    stream = call(b"", timeout=0.3)
    try:
        for _ in stream:
            pass
    except grpc.RpcError as error:
        tell(name + " until its deadline", error.code().name)


def main(otlp, http, secure, certs, body_file):
    body = Path(body_file).read_bytes()
    with grpc.insecure_channel(otlp, options=UNLIMITED) as channel:
        unary(channel, "export", EXPORT, body)
        unary(channel, "export with gzip", EXPORT, body, compression=grpc.Compression.Gzip)
        unary(channel, "export with deflate", EXPORT, body, compression=grpc.Compression.Deflate)
        unary(channel, "no protobuf", EXPORT, b"no protobuf")
        unary(channel, "too large", EXPORT, bytes(5 << 20))
        unary(channel, "deadline", EXPORT, body, timeout=-1)
        unary(channel, "unknown method", EXPORT + "s", body)
        call = channel.unary_unary(EXPORT, request_serializer=same, response_deserializer=same)
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda _: call(body, timeout=30), range(1000)))
        tell("a thousand at once", "OK", details=str(len(answers)))
    with grpc.insecure_channel(http) as channel:
        unary(channel, "health", HEALTH + "Check", b"")
        watch(channel, "watch")
        call = channel.unary_stream(SEARCH, request_serializer=same, response_deserializer=same)
        tell("search", "OK", details=str(len(list(call(QUERY, timeout=30)))))
    read = lambda name: Path(certs, name).read_bytes()
    own = grpc.ssl_channel_credentials(read("authority.pem"), read("client.key"), read("client.pem"))
    none = grpc.ssl_channel_credentials(read("authority.pem"))
    for name, credentials in (("with a certificate", own), ("without one", none)):
        with grpc.secure_channel(secure, credentials) as channel:
            unary(channel, name, HEALTH + "Check", b"")


main(*sys.argv[1:])
