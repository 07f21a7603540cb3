// Messages between peers, by §13 of protocol/SPEC.md: frames on streams, the hello that each stream begins with, and
// the acknowledgements that come back.

import { decode, encode, Refused } from '../vectors/protocol.mjs'
import { mapOf } from './keys.mjs'

export const PROTOCOL = '/heliotrope/1'
const FRAME_MAX_BYTES = 4 * 1024 * 1024
const HELLO_MAX_BYTES = 4096
const UNACKNOWLEDGED_MAX = 64
const REFUSED = 2n ** 64n - 1n
const REASON_MAX_BYTES = 512

/** Reads so many bytes at a time from what a stream brings in pieces; `arrived(bytes)` is told how many there were. */
class Reader {
  constructor (stream, arrived = () => {}) {
    this.arrived = arrived
    this.total = 0
    this.pieces = stream[Symbol.asyncIterator]()
    this.held = []
    this.size = 0
  }

  async take (size) {
    while (this.size < size) {
      const { done, value } = await this.pieces.next()
      if (done) throw new Error('the stream has ended')
      const piece = Buffer.from(value.subarray())
      this.held.push(piece)
      this.size += piece.length
      this.arrived(this.total += piece.length)
    }
    const all = this.held.length === 1 ? this.held[0] : Buffer.concat(this.held)
    this.held = [all.subarray(size)]
    this.size = all.length - size
    return all.subarray(0, size)
  }

  async frame (maxBytes) {
    const size = (await this.take(4)).readUInt32BE()
    if (size > maxBytes) throw new Refused(`a frame of ${size} bytes, at most ${maxBytes} are allowed`)
    return await this.take(size)
  }
}

const u64 = (number) => { const raw = Buffer.alloc(8); raw.writeBigUInt64BE(BigInt(number)); return raw }
const framed = (data) => { const raw = Buffer.alloc(4); raw.writeUInt32BE(data.length); return Buffer.concat([raw, data]) }

async function write (stream, data) {
  if (!stream.send(data)) await stream.onDrain()
}

export const encodeHello = ({ network, session, agent, observed }) => encode(mapOf({
  version: 1, network, session, agent, observed, invitation: Buffer.alloc(0)
}))

export function openHello (raw) {
  const hello = decode(raw, { bytes: HELLO_MAX_BYTES, string: HELLO_MAX_BYTES, array: 0, map: 6, nesting: 1 })
  const bytes = (value, low, high) => Buffer.isBuffer(value) && value.length >= low && value.length <= high
  const text = (value, high) => typeof value === 'string' && [...value].length <= high
  const fields = {
    version: (value) => value === 1,
    network: (value) => bytes(value, 32, 32),
    session: (value) => bytes(value, 16, 16),
    agent: (value) => text(value, 64),
    observed: (value) => text(value, 256),
    invitation: (value) => bytes(value, 0, 2048)
  }
  if (!(hello instanceof Map) || hello.size !== 6) throw new Refused('a hello is a map of six')
  for (const [name, isValid] of Object.entries(fields)) {
    if (!isValid(hello.get(name))) throw new Refused(`the hello has no valid ${name}`)
  }
  return Object.fromEntries(hello)
}

/** The stream of our messages to one peer. `greeted` resolves when the hello was taken; it and each `send` reject with
 * the peer's reason, or when the stream ends before. */
export class Outgoing {
  constructor (stream, hello) {
    this.stream = stream
    this.sent = this.taken = 0
    this.waiting = []
    this.writing = Promise.resolve()
    this.acknowledged = this.#readAcknowledgements()
    this.greeted = this.send(hello)
  }

  /** Resolves once the peer has taken it. */
  send (data) {
    const { promise, resolve, reject } = Promise.withResolvers()
    promise.catch(() => {}) // whoever cares has it
    this.writing = this.writing.then(async () => {
      while (this.waiting.length >= UNACKNOWLEDGED_MAX) await this.waiting[0].promise
      this.waiting.push({ promise, resolve, reject })
      await write(this.stream, framed(data))
    }).catch(reject)
    return promise
  }

  async #readAcknowledgements () {
    const reader = new Reader(this.stream)
    let failure = null
    try {
      while (true) {
        const count = (await reader.take(8)).readBigUInt64BE()
        if (count === REFUSED) {
          const size = (await reader.take(2)).readUInt16BE()
          throw new Refused((await reader.take(Math.min(size, REASON_MAX_BYTES))).toString())
        }
        const news = Number(count) - this.taken
        if (news < 1 || news > this.waiting.length) throw new Error(`${count} frames acknowledged, ${this.taken} before`)
        for (const { resolve } of this.waiting.splice(0, news)) resolve()
        this.taken += news
      }
    } catch (error) {
      failure = error
    }
    for (const { reject } of this.waiting.splice(0)) reject(failure)
  }
}

/** Read what a peer sends on a stream that it has opened. `admit(hello)` says why not, or nothing; `take(data)` has taken
 * a message when it resolves. Ends with the stream. */
export async function receive (stream, admit, take, arrived) {
  const reader = new Reader(stream, arrived)
  const reason = admit(openHello(await reader.frame(HELLO_MAX_BYTES)))
  if (reason) {
    const text = Buffer.from(reason)
    const size = Buffer.alloc(2)
    size.writeUInt16BE(text.length)
    await write(stream, Buffer.concat([u64(REFUSED), size, text]))
    return
  }
  await write(stream, u64(1))
  for (let count = 2; ; count++) {
    await take(await reader.frame(FRAME_MAX_BYTES))
    await write(stream, u64(count))
  }
}
