// Opens streams to the address it is given, sends on each its share of bytes, and compares what comes back; then answers
// one stream of the other's in the same way. Prints one JSON line: how many streams came back as they were sent.

Promise.withResolvers ??= function () {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}

const { createHash, randomBytes } = await import('node:crypto')
const { createLibp2p } = await import('libp2p')
const { tcp } = await import('@libp2p/tcp')
const { noise } = await import('@chainsafe/libp2p-noise')
const { yamux } = await import('@chainsafe/libp2p-yamux')
const { multiaddr } = await import('@multiformats/multiaddr')

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
