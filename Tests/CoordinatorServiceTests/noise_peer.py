"""A peer of the coordinator's and its clients' encrypted connections, over the package noiseprotocol.

usage: noise_peer.py client PORT KEY-FILE SEED   sends each line of stdin as a frame and prints each answer as a line
       noise_peer.py server KEY-FILE SEED        prints its port, and answers the requests of one connection with padded "runs"

Written from docs/protocol.md; shares no code with the programs.
"""

import json
import random
import socket
import sys

from cryptography.exceptions import InvalidTag
from noise.connection import NoiseConnection

LARGEST_PAYLOAD = 65535 - 16


class Channel:
    def __init__(self, connection, key_file, seed, is_client):
        self.connection = connection
        self.random = random.Random(seed)
        self.pending = b""
        with open(key_file, "rb") as file:
            key = file.read()
        self.noise = NoiseConnection.from_name(b"Noise_NNpsk0_25519_ChaChaPoly_SHA256")
        self.noise.set_psks(key)
        self.noise.set_prologue(b"moe-control/1")
        if is_client:
            self.noise.set_as_initiator()
        else:
            self.noise.set_as_responder()
        self.noise.start_handshake()
        if is_client:
            self.send_message(self.noise.write_message())
        assert self.noise.read_message(self.receive_message()) == b""
        if not is_client:
            self.send_message(self.noise.write_message())
        assert self.noise.handshake_finished

    def send_message(self, message):
        self.connection.sendall(len(message).to_bytes(2, "big") + message)

    def receive_message(self):
        return self.receive_exactly(int.from_bytes(self.receive_exactly(2), "big"))

    def receive_exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.connection.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def send_frame(self, payload):
        """In records of any size, also of none and of the largest."""
        rest = len(payload).to_bytes(4, "big") + payload
        while rest:
            size = self.random.choice([0, 1, 3, self.random.randrange(1, 5000), LARGEST_PAYLOAD, LARGEST_PAYLOAD])
            self.send_message(self.noise.encrypt(rest[:size]))
            rest = rest[size:]

    def take(self, count):
        while len(self.pending) < count:
            self.pending += self.noise.decrypt(self.receive_message())
        taken, self.pending = self.pending[:count], self.pending[count:]
        return bytes(taken)

    def receive_frame(self):
        return self.take(int.from_bytes(self.take(4), "big"))


def client(port, key_file, seed):
    channel = Channel(socket.create_connection(("127.0.0.1", int(port))), key_file, int(seed), True)
    for line in sys.stdin.buffer:
        channel.send_frame(line.rstrip(b"\n"))
        print(channel.receive_frame().decode())


def server(key_file, seed):
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    channel = Channel(listener.accept()[0], key_file, int(seed), False)
    try:
        while True:
            request = json.loads(channel.receive_frame())
            answer = {
                "type": "runs", "version": 1, "request_id": request["request_id"], "runs": [], "truncated": False,
                "padding": "x" * channel.random.choice([0, 65000, 200000]),
            }
            channel.send_frame(json.dumps(answer).encode())
    except EOFError:
        pass


try:
    {"client": client, "server": server}[sys.argv[1]](*sys.argv[2:])
except InvalidTag:
    sys.exit("the other side does not have the key")
