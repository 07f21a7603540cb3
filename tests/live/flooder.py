"""A peer that floods: `python -m tests.live.flooder ADDRESS NETWORK TOPIC RATE_PER_S`.

It greets like any other peer, prints `flooding`, and then sends valid gossip of its own at that rate until it is cut,
which it prints: what no check refuses is the hardest flood to bear.
"""

from __future__ import annotations

import sys
from itertools import count

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

from node.link.messages import PROTOCOL
from protocol.envelope import Head
from protocol.gossip import encode_announcement
from protocol.hello import Hello
from tests.builders import digest
from tests.live.links import ANY_PORT, hear_hello, say_hello

KEY = create_new_key_pair(digest("flooder"))
BATCH_S = 0.02


def message(topic: str, number: int) -> rpc_pb2.Message:
    author = ID.from_pubkey(KEY.public_key).to_bytes()
    data = encode_announcement([Head(author[-32:], 0, digest(f"flood {number}"))])
    unsigned = rpc_pb2.Message(from_id=author, data=data, seqno=number.to_bytes(8, "big"), topicIDs=[topic])
    signature = KEY.private_key.sign(b"libp2p-pubsub:" + unsigned.SerializeToString())
    return rpc_pb2.Message(from_id=author, data=data, seqno=unsigned.seqno, topicIDs=[topic], signature=signature)


async def main(address: str, network: bytes, topic: str, rate_per_s: int) -> None:
    host = new_host(key_pair=KEY)
    async with host.run([Multiaddr(ANY_PORT)]):
        host.set_stream_handler(PROTOCOL, hear_hello)
        target = info_from_p2p_addr(Multiaddr(address))
        await host.connect(target)
        hello = Hello(version=1, network=network, session=bytes(16), agent="flooder", observed="", invitation=b"")
        await say_hello(host, target.peer_id, hello)
        stream = await host.new_stream(target.peer_id, [PROTOCOL_ID_V11])
        print("flooding", flush=True)
        began = trio.current_time()
        for number in count():
            rpc = rpc_pb2.RPC(publish=[message(topic, number)])
            try:
                await stream.write(encode_varint_prefixed(rpc.SerializeToString()))
            except StreamError:  # it was cut
                print("cut", flush=True)
                await trio.sleep_forever()
            ahead_s = number / rate_per_s - (trio.current_time() - began)
            if ahead_s > BATCH_S:
                await trio.sleep(ahead_s)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], bytes.fromhex(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
