// Feeds and how peers compare them, by §5, §6, §15 and §16 of protocol/SPEC.md: a ledger that stores and judges nothing,
// for as few authors as one list holds.

import { createHash, randomBytes } from 'node:crypto'
import { openEntry, Refused } from '../vectors/protocol.mjs'

const LISTED_MAX = 64
const MARK_BYTES = 8
const FINGERPRINT_BYTES = 16
const NO_BYTES = Buffer.alloc(0)

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()
const u64 = (number) => { const raw = Buffer.alloc(8); raw.writeBigUInt64BE(BigInt(number)); return raw }
const hashOf = ({ author, seq, id }) => sha256(author, u64(seq), id)
const markOf = (head) => hashOf(head).subarray(0, MARK_BYTES)
const inRange = (author, start, end) =>
  Buffer.compare(author, start) >= 0 && (end.length === 0 || Buffer.compare(author, end) < 0)

function fingerprintOf (heads) {
  const sum = heads.reduce((total, head) => total + BigInt('0x' + hashOf(head).toString('hex')), 0n) % 2n ** 256n
  return sha256(u64(heads.length), Buffer.from(sum.toString(16).padStart(64, '0'), 'hex')).subarray(0, FINGERPRINT_BYTES)
}

export class Feeds {
  constructor (network) {
    this.network = network
    this.epoch = randomBytes(16)
    this.feeds = new Map() // author in hexadecimal → opened entries
    this.refused = 0
  }

  get count () {
    return [...this.feeds.values()].reduce((sum, feed) => sum + feed.length, 0)
  }

  heads (start = NO_BYTES, end = NO_BYTES) {
    return [...this.feeds.values()].map((feed) => feed.at(-1)).filter(({ author }) => inRange(author, start, end))
  }

  feed (author) {
    return this.feeds.get(author.toString('hex')) ?? []
  }

  /** An entry as it came: true if it was stored, false if it is known. Throws Refused for what does not follow. */
  take (raw) {
    const entry = { ...openEntry(raw, this.network), raw: Buffer.from(raw) }
    const feed = this.feed(entry.author)
    if (entry.seq < feed.length) {
      if (!feed[entry.seq].id.equals(entry.id)) throw new Refused('a fork')
      return false
    }
    if (entry.seq > feed.length) throw new Refused(`a gap before ${entry.seq}`)
    const prev = feed.length === 0 ? Buffer.alloc(32) : feed.at(-1).id
    if (!entry.prev.equals(prev)) throw new Refused('another prev than the head')
    if (feed.length > 0 && entry.timeMs < feed.at(-1).timeMs) throw new Refused('before the head')
    this.feeds.set(entry.author.toString('hex'), [...feed, entry])
    return true
  }

  summary () {
    const cut = randomBytes(32)
    return {
      epoch: this.epoch,
      position: this.count,
      cut,
      below: fingerprintOf(this.heads(NO_BYTES, cut)),
      above: fingerprintOf(this.heads(cut))
    }
  }

  /** The messages that answer one of this peer's: [type, body as a plain object]. */
  answers (type, body, peer) {
    if (type === 'summary') {
      const cut = body.get('cut')
      return this.#compare([[cut, [[NO_BYTES, body.get('above')]]], [NO_BYTES, [[cut, body.get('below')]]]], [])
    }
    if (type === 'compare') return this.#compare(body.get('spans'), body.get('lists'))
    if (type === 'heads') return this.#wants(body)
    if (type === 'since') return this.#news(body)
    if (type === 'news') return this.#wantsOf(body.get('feeds').map(([author, seq]) => ({ author, seq })))
    if (type === 'want') return body.get('ranges').flatMap(([author, from]) => this.#entries(this.feed(author).slice(from)))
    if (type === 'want_ids') {
      const all = [...this.feeds.values()].flat()
      return this.#entries(all.filter(({ id }) => body.get('ids').some((wanted) => wanted.equals(id))))
    }
    if (type === 'want_head') return [['head_is', { entry: this.feed(peer).at(-1)?.raw ?? null }]]
    if (type === 'entries') return this.#stored(body.get('entries'))
    return []
  }

  #compare (spans, lists) {
    const ours = []
    for (const [first, ranges] of spans) {
      let start = first
      for (const [end, fingerprint] of ranges) {
        const heads = this.heads(start, end)
        if (heads.length > LISTED_MAX) throw new Error(`${heads.length} heads in a range: too many for this peer`)
        if (!fingerprintOf(heads).equals(fingerprint)) ours.push([start, end, Buffer.concat(heads.map(markOf))])
        start = end
      }
    }
    const heads = []
    const unknown = []
    for (const [start, end, joined] of lists) {
      const listed = Array.from({ length: joined.length / MARK_BYTES }, (_, i) => joined.subarray(i * MARK_BYTES, (i + 1) * MARK_BYTES))
      const mine = this.heads(start, end)
      const missing = mine.filter((head) => !listed.some((mark) => mark.equals(markOf(head))))
      const strange = listed.filter((mark) => !mine.some((head) => markOf(head).equals(mark)))
      heads.push(...(missing.length + strange.length > 0 ? missing : mine))
      unknown.push(...strange)
    }
    const answers = []
    if (ours.length > 0) answers.push(['compare', { spans: [], lists: ours }])
    if (heads.length + unknown.length > 0) answers.push(['heads', show(heads, unknown)])
    return answers
  }

  /** The table of §16, for a peer that knows no fork. */
  #wants (body) {
    const shown = new Map(body.get('heads').map(([author, seq, id]) => [author.toString('hex'), { author, seq, id }]))
    const marks = body.get('unknown')
    const isUnknown = (head) => Array.from({ length: marks.length / MARK_BYTES }, (_, i) => marks.subarray(i * MARK_BYTES, (i + 1) * MARK_BYTES))
      .some((mark) => mark.equals(markOf(head)))
    const sent = [...shown.values()].flatMap(({ author, seq }) => this.#entries(this.feed(author).slice(seq + 1)))
    const whole = this.heads().filter((head) => !shown.has(head.author.toString('hex')) && isUnknown(head))
    return [...this.#wantsOf([...shown.values()]), ...sent, ...whole.flatMap(({ author }) => this.#entries(this.feed(author)))]
  }

  #wantsOf (heads) {
    const ranges = heads.map(({ author, seq }) => [author, this.feed(author).length, seq]).filter(([, from, seq]) => from <= seq)
    return ranges.length > 0 ? [['want', { ranges: ranges.map(([author, from]) => [author, from]) }]] : []
  }

  #news (body) {
    if (!body.get('epoch').equals(this.epoch) || body.get('position') > this.count) return [['summary', this.summary()]]
    return []
  }

  #stored (raws) {
    for (const raw of raws) {
      try {
        this.take(raw)
      } catch (refusal) {
        if (!(refusal instanceof Refused)) throw refusal
        this.refused += 1
      }
    }
    return []
  }

  #entries (feed) {
    return feed.length > 0 ? [['entries', { entries: feed.map(({ raw }) => raw), more: false }]] : []
  }
}

const show = (heads, unknown) => ({
  heads: heads.map(({ author, seq, id }) => [author, seq, id]),
  unknown: Buffer.concat(unknown)
})
