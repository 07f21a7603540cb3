// A peer of the network in another language, with js-libp2p as it comes, written from protocol/SPEC.md. It does what it is
// told, a JSON line on stdin each, and prints a JSON line for each answer (`re`) and for all that it sees (`event`).
//
//     node peer.mjs GENESIS_JSON SEED_HEX

import './polyfill.mjs'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { yamux } from '@chainsafe/libp2p-yamux'
import { noise } from '@chainsafe/libp2p-noise'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { gossipsub } from '@libp2p/gossipsub'
import { identify, identifyPush } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { decode, encode, openEntry, peerId, Refused } from '../vectors/protocol.mjs'
import { Book, encodeBatch, judge, openAdvert, openBatch, regionOf, sealAdvert } from './adverts.mjs'
import { Feeds } from './feeds.mjs'
import { keyOf, mapOf, signArray } from './keys.mjs'
import { encodeHello, Outgoing, PROTOCOL, receive } from './messages.mjs'

const DIRECT = { bytes: 4 * 1024 * 1024, string: 4096, array: 1024, map: 64, nesting: 8 }
const sha256 = (data) => createHash('sha256').update(data).digest()
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

// --- the network ------------------------------------------------------------------------------------------------------

const genesis = JSON.parse(readFileSync(process.argv[2]))
const bytesOf = (keys) => keys.map((key) => Buffer.from(key, 'hex'))
const network = sha256(encode(mapOf({
  ...genesis,
  witnesses: bytesOf(genesis.witnesses),
  auditors: bytesOf(genesis.auditors)
})))
const { unix_ms: unixMs, network_ms: networkMs, speed } = genesis.clock
const now = () => Math.max(0, networkMs + (Date.now() - unixMs) * speed)
const stem = `heliotrope/1/${network.toString('hex').slice(0, 32)}`
const topicOf = (region) => `${stem}/adverts/${region}`

// --- the peer ---------------------------------------------------------------------------------------------------------

const key = keyOf(Buffer.from(process.argv[3], 'hex'))
const node = await createLibp2p({
  privateKey: await generateKeyPairFromSeed('Ed25519', key.seed),
  addresses: { listen: [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    identifyPush: identifyPush(),
    ping: ping(),
    pubsub: gossipsub({
      msgIdFn: ({ from, sequenceNumber }) => {
        const id = Buffer.alloc(46)
        id.set(from.toMultihash().bytes)
        id.writeBigUInt64BE(sequenceNumber, 38)
        return id
      }
    })
  }
})
const { pubsub } = node.services
const session = randomBytes(16)
const book = new Book()
const feeds = new Feeds(network)
const peers = new Map() // peer id → {outgoing, heard: a promise of its hello}
const taking = { echoes: false, holds: false } // what it does with messages instead of answering them

const peerOf = (id) => {
  if (!peers.has(id)) peers.set(id, { outgoing: null, heard: Promise.withResolvers() })
  return peers.get(id)
}
node.addEventListener('peer:disconnect', ({ detail }) => {
  peers.delete(detail.toString())
  say({ event: 'disconnected', peer: detail.toString() })
})

await node.handle(PROTOCOL, async (stream, connection) => {
  const id = connection.remotePeer.toString()
  const author = Buffer.from(connection.remotePeer.publicKey.raw)
  const admit = (hello) => {
    if (!hello.network.equals(network)) return `this is network ${network.toString('hex').slice(0, 16)}`
    peerOf(id).heard.resolve()
    return ''
  }
  try {
    await receive(stream, admit, (data) => take(id, author, data))
  } catch (error) {
    say({ event: 'stream ended', peer: id, reason: error.message })
    stream.abort(error)
  }
})

/** Connect, greet, and be greeted. */
async function dial (address) {
  const connection = await node.dial(multiaddr(address))
  const id = connection.remotePeer.toString()
  const peer = peerOf(id)
  const hello = encodeHello({ network, session, agent: 'interop', observed: connection.remoteAddr.toString() })
  peer.outgoing = new Outgoing(await connection.newStream(PROTOCOL), hello)
  await peer.outgoing.greeted
  await peer.heard.promise
  return id
}

const send = (id, type, body) => peerOf(id).outgoing.send(encode([type, mapOf(body)]))

// --- direct messages --------------------------------------------------------------------------------------------------

const questions = new Map() // type of the answer → who waits for it
const answerTo = (type) => {
  const waiting = Promise.withResolvers()
  questions.set(type, waiting)
  return waiting.promise
}

async function take (id, author, data) {
  if (taking.holds) await new Promise(() => {})
  if (taking.echoes) {
    say({ event: 'raw', size: data.length, sha256: sha256(data).toString('hex') })
    peerOf(id).outgoing.send(Buffer.from(data))
    return
  }
  const [type, body] = decode(data, DIRECT)
  say({ event: 'message', peer: id, type })
  questions.get(type)?.resolve(body)
  questions.delete(type)
  if (type === 'ping') send(id, 'pong', body)
  for (const [kind, answer] of feeds.answers(type, body, author)) send(id, kind, answer)
}

// --- adverts ----------------------------------------------------------------------------------------------------------

const isTopicOfAdverts = (topic) => topic.startsWith(`${stem}/adverts/`)

function tell (author, change, region) {
  const id = author.toString('hex')
  const said = book.said.get(id)
  say({
    event: 'advert',
    change,
    author: peerId(author),
    label: said?.get('label'),
    region,
    device: said?.get('offer').get('device'),
    zone: said?.get('offer').get('place').get('zone'),
    number: book.last.get(id),
    free_units: said?.get('free_units')
  })
}

function judgeAdverts (id, topic, data) {
  const region = topic.split('/').at(-1)
  try {
    const items = openBatch(data, network, region, now())
    for (const item of items) {
      const change = book.take(item)
      if (change === 'lacking') send(id, 'want_adverts', { authors: [item.author], regions: [], since: 0, after: Buffer.alloc(0) })
      else if (change !== 'old') tell(item.author, change, region)
    }
    return 'accept'
  } catch (refusal) {
    if (!(refusal instanceof Refused)) throw refusal
    say({ event: 'faulty', peer: id, reason: refusal.message })
    return refusal.isFault ? 'reject' : 'ignore'
  }
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Once somebody listens. */
async function publish (topic, data) {
  while (pubsub.getSubscribers(topic).length === 0) await sleep(20)
  const { recipients } = await pubsub.publish(topic, data)
  return { recipients: recipients.length }
}

const own = { full: null, number: 0 }
const rising = () => { own.number = Math.max(now(), own.number + 1); return own.number }
const OFFER = {
  device: 'abacus',
  units: 3,
  memory_mb: 64,
  rate_tps: 10,
  idle_w: 1,
  peak_w: 2,
  pue_permille: 1000,
  embodied_ug_per_unit_hour: 1,
  bandwidth_mbps: 1,
  price_microcredits_per_unit_hour: 7,
  tenant: '',
  place: { zone: 'PT', latitude_decidegrees: 387, longitude_decidegrees: -91 },
  carrier: 'solar',
  capacity_w: 100,
  own_g_per_kwh: 40
}

function advert (changes, aheadMs = 0) {
  const number = aheadMs > 0 ? now() + aheadMs : rising()
  const slot = Math.floor(number / genesis.slot_ms)
  own.full = {
    number,
    expires_at_ms: number + 3600000,
    label: 'js',
    offer: OFFER,
    free_units: 3,
    first_slot: slot,
    surplus_s50_j: [5, 6, 7],
    surplus_s20_j: [1, 2, 3],
    grid_g_per_kwh: [200, 201, 202],
    attestations: [],
    addresses: [],
    ...changes
  }
  return own.full
}

function update (changes) {
  const number = rising()
  return {
    number,
    base_number: own.full.number,
    expires_at_ms: number + 3600000,
    free_units: 2,
    shift_slots: 1,
    slots: 3,
    surplus_s50_j: [[2, [8]]],
    surplus_s20_j: [[2, [4]]],
    grid_g_per_kwh: [[2, [203]]],
    attestations: null,
    addresses: null,
    ...changes
  }
}

function goodbye () {
  const said = update({ free_units: 0, shift_slots: 0, slots: 0, surplus_s50_j: [], surplus_s20_j: [], grid_g_per_kwh: [] })
  return { ...said, expires_at_ms: said.number }
}

const ENTRY_DOMAIN = Buffer.from('heliotrope-ledger/entry/v1\0')

/** The next entry of our own feed: an offer; its announcement. */
function write () {
  const feed = feeds.feed(key.public)
  const prev = feed.length > 0 ? feed.at(-1).id : Buffer.alloc(32)
  feeds.take(signArray(key, ENTRY_DOMAIN, [1, network, 'offer', key.public, feed.length, prev, now(), [], mapOf(OFFER)]))
  const { author, seq, id } = feeds.feed(key.public).at(-1)
  return encode([[author, seq, id]])
}

const FORGERIES = {
  none: (body) => sealAdvert(key, network, body),
  signature: (body) => { const raw = sealAdvert(key, network, body); raw[raw.length - 40] ^= 1; return raw },
  size: (body) => Buffer.concat([sealAdvert(key, network, body), Buffer.alloc(12288)])
}
const BODIES = { advert, update, goodbye }

// --- what it is told --------------------------------------------------------------------------------------------------

const COMMANDS = {
  dial: async ({ address }) => ({ peer: await dial(address) }),
  protocols: async ({ peer }) => ({
    known: (await node.peerStore.all()).find(({ id }) => id.toString() === peer).protocols,
    gossip: pubsub.getPeers().map(String),
    streams: node.getConnections().flatMap(({ streams }) => streams.map(({ protocol }) => protocol))
  }),
  subscribe: ({ topic, region }) => {
    const name = topic ?? topicOf(region)
    pubsub.topicValidators.set(name, (peer, { topic, data }) => isTopicOfAdverts(topic)
      ? judgeAdverts(peer.toString(), topic, Buffer.from(data))
      : 'accept')
    pubsub.subscribe(name)
  },
  say: async ({ what, region, changes = {}, forged = 'none', ahead_ms: aheadMs }) =>
    await publish(topicOf(region), encodeBatch([FORGERIES[forged](BODIES[what](changes, aheadMs))])),
  want_adverts: async ({ peer, regions }) => {
    const answer = answerTo('adverts')
    await send(peer, 'want_adverts', { authors: [], regions, since: 0, after: Buffer.alloc(0) })
    const items = (await answer).get('adverts').map((raw) => openAdvert(raw, network))
    for (const item of items) judge(item, null, now())
    return { adverts: items.map(({ author, body, isUpdate }) => ({ author: peerId(author), label: body.get('label'), is_update: isUpdate })) }
  },
  regions: ({ zones }) => ({ regions: zones.map(regionOf) }),
  write: async () => await publish(`${stem}/entries`, write()),
  sync: async ({ peer }) => { await send(peer, 'summary', feeds.summary()) },
  want: async ({ peer, author, start }) => {
    const answer = answerTo('entries')
    await send(peer, 'want', { ranges: [[Buffer.from(author, 'hex'), start]] })
    return { ids: (await answer).get('entries').map((raw) => openEntry(raw, network).id.toString('hex')) }
  },
  feeds: () => ({
    ids: Object.fromEntries([...feeds.feeds].map(([author, feed]) => [author, feed.map(({ id }) => id.toString('hex'))])),
    refused: feeds.refused
  }),
  ping: async ({ peer }) => {
    const answer = answerTo('pong')
    await send(peer, 'ping', { nonce: 4711 })
    return { nonce: (await answer).get('nonce') }
  },
  rtt: async ({ address }) => ({ rtt_ms: await node.services.ping.ping(multiaddr(address)) }),
  acknowledged: ({ peer }) => ({ taken: peerOf(peer).outgoing.taken, waiting: peerOf(peer).outgoing.waiting.length }),
  streams: async ({ count }) => {
    const [connection] = node.getConnections()
    for (let i = 0; i < count; i++) await connection.newStream(PROTOCOL)
  },
  echo: () => { Object.assign(taking, { echoes: true, holds: false }) },
  raw: async ({ peer, size }) => {
    const data = randomBytes(size)
    await peerOf(peer).outgoing.send(data)
    return { sha256: sha256(data).toString('hex') }
  },
  flood: async ({ topic, count, pause_ms: pauseMs }) => {
    for (let number = 0; number < count; number++) {
      await publish(topic, Buffer.from(`js ${number}`))
      await sleep(pauseMs)
    }
  },
  hold: () => { taking.holds = true },
  cut: () => { for (const connection of node.getConnections()) connection.abort(new Error('told to')) }
}

pubsub.addEventListener('message', ({ detail: { topic, data } }) => {
  if (!isTopicOfAdverts(topic)) say({ event: 'gossip', text: Buffer.from(data).toString() })
})

say({ event: 'ready', peer: peerId(key.public), network: network.toString('hex') })
for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: name, ...given } = JSON.parse(line)
  Promise.resolve().then(() => COMMANDS[name](given)).then(
    (answer) => say({ re: id, ...answer }),
    (error) => say({ re: id, error: error.message })
  )
}
await node.stop()
process.exit(0)
