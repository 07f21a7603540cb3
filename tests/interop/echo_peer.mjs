// Opens streams to the address it is given, sends on each its share of bytes, and compares what comes back; then answers
// one stream of the other's in the same way. Prints one JSON line: how many streams came back as they were sent.

import './polyfill.mjs'
import { createHash, randomBytes } from 'node:crypto'
import { createLibp2p } from 'libp2p'
import { tcp } from '@libp2p/tcp'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { multiaddr } from '@multiformats/multiaddr'

const [address, streams, bytes] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])]
const PROTOCOL = '/heliotrope/test/echo/1'

async function send (stream, data) {
  for (let at = 0; at < data.length; at += 65536) {
    if (!stream.send(data.subarray(at, at + 65536))) await stream.onDrain()
  }
  await stream.close()
}

async function digest (stream) {
  const hash = createHash('sha256')
  for await (const chunk of stream) hash.update(chunk.subarray())
  return hash.digest('hex')
}

const node = await createLibp2p({
  addresses: { listen: [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()]
})

const answered = Promise.withResolvers()
await node.handle(PROTOCOL, async (stream) => {
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk.subarray())
  await send(stream, Buffer.concat(chunks))
  answered.resolve()
})

const connection = await node.dial(multiaddr(address))
const same = await Promise.all(Array.from({ length: streams }, async () => {
  const stream = await connection.newStream(PROTOCOL)
  const data = randomBytes(bytes)
  const [heard] = await Promise.all([digest(stream), send(stream, data)])
  return heard === createHash('sha256').update(data).digest('hex')
}))
await answered.promise
console.log(JSON.stringify({ same: same.filter(Boolean).length }))
await node.stop()
