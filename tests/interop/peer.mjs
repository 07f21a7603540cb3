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
import { Book, encodeBatch, judge, openAdvert, openBatch, regionOf } from './adverts.mjs'
import { Feeds } from './feeds.mjs'
import { keyOf, mapOf } from './keys.mjs'
import { encodeHello, Outgoing, PROTOCOL, receive } from './messages.mjs'
import { Own } from './own.mjs'

const DIRECT = { bytes: 4 * 1024 * 1024, string: 4096, array: 1024, map: 64, nesting: 8 }
const sha256 = (data) => createHash('sha256').update(data).digest()
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

// --- the network ------------------------------------------------------------------------------------------------------

const genesis = JSON.parse(readFileSync(process.argv[2]))
const bytesOf = (keys) => keys.map((key) => Buffer.from(key, 'hex'))
const { admitters = [], ...required } = genesis
const network = sha256(encode(mapOf({
  ...required,
  witnesses: bytesOf(genesis.witnesses),
  auditors: bytesOf(genesis.auditors),
  ...(admitters.length > 0 ? { admitters: bytesOf(admitters) } : {})
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
let book = new Book()
let refusal = null // of every hello, whatever it says; empty: none is refused
let missing = false // full adverts that are gossiped
const feeds = new Feeds(network)
const peers = new Map() // peer id → {outgoing, heard: a promise of its hello}
let echoes = false // messages, instead of answering them
let cutAfterBytes = Infinity // of one stream

const peerOf = (id) => {
  if (!peers.has(id)) {
    peers.set(id, { outgoing: null, heard: Promise.withResolvers() })
    peers.get(id).heard.promise.catch(() => {}) // whoever waits for it is told
  }
  return peers.get(id)
}
node.addEventListener('peer:disconnect', ({ detail }) => {
  peers.get(detail.toString())?.heard.reject(new Error('disconnected'))
  peers.delete(detail.toString())
  say({ event: 'disconnected', peer: detail.toString() })
})

await node.handle(PROTOCOL, async (stream, connection) => {
  const id = connection.remotePeer.toString()
  const author = Buffer.from(connection.remotePeer.publicKey.raw)
  const admit = (hello) => {
    if (refusal !== null) {
      if (refusal === '') peerOf(id).heard.resolve()
      return refusal
    }
    if (!hello.network.equals(network)) return `this is network ${network.toString('hex').slice(0, 16)}`
    peerOf(id).heard.resolve()
    return ''
  }
  try {
    await receive(stream, admit, (data) => take(id, author, data), (bytes) => {
      if (bytes > cutAfterBytes) connection.abort(new Error('told to'))
    })
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
  if (echoes) {
    say({ event: 'raw', size: data.length, sha256: sha256(data).toString('hex') })
    peerOf(id).outgoing.send(Buffer.from(data))
    return
  }
  const [type, body] = decode(data, DIRECT)
  say({ event: 'message', peer: id, type })
  questions.get(type)?.resolve(body)
  questions.delete(type)
  if (type === 'ping') send(id, 'pong', body)
  if (type === 'want_adverts') send(id, 'adverts', own.answer(body))
  for (const [kind, answer] of feeds.answers(type, body, author)) send(id, kind, answer)
}

// --- adverts ----------------------------------------------------------------------------------------------------------

const isTopicOfAdverts = (topic) => topic.startsWith(`${stem}/adverts/`)

/** Keep what a peer has sent, and tell what is new; what an update changes is asked for. */
function takeAdvert (id, item) {
  const change = book.take(item)
  if (change === 'lacking') askAdverts(id, [item.author], [])
  if (['lacking', 'old'].includes(change)) return
  const author = item.author.toString('hex')
  const said = book.said.get(author)
  const offer = said?.get('offer')
  const zone = offer?.get('place').get('zone')
  say({
    event: 'advert',
    change,
    author: peerId(item.author),
    label: said?.get('label'),
    region: zone && regionOf(zone),
    zone,
    device: offer?.get('device'),
    free_units: said?.get('free_units'),
    number: book.last.get(author)
  })
}

/** What a peer knows: of some authors, or of all in some regions. */
async function askAdverts (id, authors, regions) {
  const answer = answerTo('adverts')
  await send(id, 'want_adverts', { authors, regions, since: 0, after: Buffer.alloc(0) })
  const items = (await answer).get('adverts').map((raw) => openAdvert(raw, network))
  for (const item of items) {
    judge(item, null, now())
    takeAdvert(id, item)
  }
  return items
}

function judgeAdverts (id, topic, data) {
  const region = topic.split('/').at(-1)
  try {
    const items = openBatch(data, network, region, now())
    for (const item of items) if (item.isUpdate || !missing) takeAdvert(id, item)
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

// --- what it says of itself -------------------------------------------------------------------------------------------

const own = new Own(key, network, genesis.slot_ms, now)

/** The next entry of our own feed: an offer; its announcement. */
function write () {
  feeds.take(own.entry(feeds.feed(key.public)))
  const { author, seq, id } = feeds.feed(key.public).at(-1)
  return encode([[author, seq, id]])
}

// --- what it is told --------------------------------------------------------------------------------------------------

const COMMANDS = {
  dial: async ({ address }) => ({ peer: await dial(address) }),
  judge_hellos: ({ reason }) => { refusal = reason },
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
  say: async ({ what, region, ...how }) => await publish(topicOf(region), encodeBatch([own.say(what, how)])),
  whisper: ({ what, ...how }) => { own.say(what, how) },
  want_adverts: async ({ peer, regions }) => {
    const items = await askAdverts(peer, [], regions)
    return { adverts: items.map(({ author, body, isUpdate }) => ({ author: peerId(author), label: body.get('label'), is_update: isUpdate })) }
  },
  miss: () => { [book, missing] = [new Book(), true] },
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
  acknowledged: ({ peer }) => ({ taken: peerOf(peer).outgoing.taken }),
  streams: async ({ count }) => {
    const [connection] = node.getConnections()
    for (let i = 0; i < count; i++) await connection.newStream(PROTOCOL)
  },
  echo: () => { [echoes, cutAfterBytes] = [true, Infinity] },
  raw: async ({ peer, size }) => {
    const data = randomBytes(size)
    await peerOf(peer).outgoing.send(data)
    return { sha256: sha256(data).toString('hex') }
  },
  gossip: async ({ topic, text }) => await publish(topic, Buffer.from(text)),
  flood: async ({ topics, count, pause_ms: pauseMs }) => {
    for (let number = 0; number < count; number++) {
      await publish(topics[number % topics.length], Buffer.from(`js ${number}`))
      await sleep(pauseMs)
    }
  },
  cut_after: ({ bytes }) => { cutAfterBytes = bytes }
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
