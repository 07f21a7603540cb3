// js-libp2p's part of `make bench BENCH=gossip`: some nodes in this one process. tests/bench/gossip_peer.py does the
// same with py-libp2p and says what is measured; settings and result have the same names there.

import './polyfill.mjs'
import { createLibp2p } from 'libp2p'
import { tcp } from '@libp2p/tcp'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'

const settings = JSON.parse(process.argv[2])
const TOPIC = 'heliotrope/1/bench/adverts'

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds))
const now = () => performance.now() / 1000
const cpu = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1e6 }

async function until (isTrue, seconds) {
  const ends = now() + seconds
  while (!isTrue()) {
    if (now() > ends) return false
    await sleep(0.02)
  }
  return true
}

const node = () => createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  connectionManager: { inboundConnectionThreshold: 1000, maxIncomingPendingConnections: 1000 },
  services: {
    identify: identify(),
    pubsub: gossipsub({
      protocols: ['/meshsub/1.1.0'],
      globalSignaturePolicy: 'StrictSign',
      D: 6, Dlo: 4, Dhi: 12,
      heartbeatInterval: 1000,
      floodPublish: false,
      fallbackToFloodsub: false,
      allowPublishToZeroTopicPeers: true
    })
  }
})

const nodes = await Promise.all(Array.from({ length: settings.nodes }, node))
const sent = new Map()
const latencies = []
for (const each of nodes) {
  each.services.pubsub.addEventListener('message', ({ detail }) => {
    const number = new DataView(detail.data.buffer, detail.data.byteOffset).getUint32(0)
    if (detail.topic === TOPIC && number >= settings.warmups) latencies.push(now() - sent.get(number))
  })
  each.services.pubsub.subscribe(TOPIC)
}
const neighbours = nodes.map(() => 0)
for (const [from, to] of settings.dials) {
  await nodes[from].dial(nodes[to].getMultiaddrs())
  neighbours[from] += 1
  neighbours[to] += 1
}
const met = ({ services: { pubsub } }, index) => pubsub.getSubscribers(TOPIC).length === neighbours[index]
if (!await until(() => nodes.every(met), 60)) throw new Error('the nodes did not find each other within 60 s')
const others = nodes.length - 1

async function publish (first, count) {
  const began = now()
  for (let number = first; number < first + count; number++) {
    await sleep(Math.max(0, began + (number - first) / settings.rate_per_s - now()))
    const data = new Uint8Array(settings.size_bytes)
    new DataView(data.buffer).setUint32(0, number)
    sent.set(number, now())
    await nodes[number % nodes.length].services.pubsub.publish(TOPIC, data)
  }
}

await sleep(settings.settle_s)
await publish(0, settings.warmups)
await sleep(settings.settle_s)
const idleCpu = cpu()
const idleAt = now()
await sleep(settings.idle_s)
const idle = (cpu() - idleCpu) / (now() - idleAt)

const busyCpu = cpu()
const busyAt = now()
await publish(settings.warmups, settings.messages)
const expected = settings.messages * others
await until(() => latencies.length >= expected, settings.deadline_s)
await sleep(settings.tail_s)
const spent = cpu() - busyCpu - idle * (now() - busyAt)

latencies.sort((a, b) => a - b)
console.log(JSON.stringify({
  cpu_ms: 1000 * spent / settings.messages / nodes.length,
  p50_ms: 1000 * latencies[Math.floor(0.5 * latencies.length)],
  p95_ms: 1000 * latencies[Math.floor(0.95 * latencies.length)],
  lost: expected - latencies.length,
  mesh: nodes.reduce((sum, { services: { pubsub } }) => sum + pubsub.getMeshPeers(TOPIC).length, 0) / nodes.length
}))
process.exit(0)
