// What the peer says of itself: its adverts, honest and forged, and the entries of its feed (§5, §14, §15).

import { regionOf, sealAdvert } from './adverts.mjs'
import { mapOf, signArray } from './keys.mjs'

const ENTRY_DOMAIN = Buffer.from('heliotrope-ledger/entry/v1\0')
const LIFETIME_MS = 3600000
const SERIES = ['surplus_s50_j', 'surplus_s20_j', 'grid_g_per_kwh']
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

/** Each makes of a body what must be refused. */
const FORGERIES = {
  topic: (body, seal) => seal(body), // said in another region's
  signature: (body, seal) => {
    const raw = seal(body)
    raw[raw.length - 40] ^= 1
    return raw
  },
  // Every field is within its bounds, and the whole is too long.
  size: (body, seal) => seal({
    ...body,
    ...Object.fromEntries(SERIES.map((name) => [name, Array(256).fill(Number.MAX_SAFE_INTEGER)])),
    addresses: Array(8).fill('\u{1f33b}'.repeat(256))
  })
}

export class Own {
  constructor (key, network, slotMs, now) {
    Object.assign(this, { key, network, slotMs, now, base: null, full: null, newest: null, number: 0 })
  }

  /** The signed bytes of an `advert`, an `update` of it, or a `goodbye`; `ahead_ms`: dated so far in the future. */
  say (what, { changes = {}, forged, ahead_ms: aheadMs = 0 }) {
    this.number = Math.max(this.now(), this.number + 1)
    const body = { ...this[`_${what}`](this.number + aheadMs), ...changes }
    const seal = (sealed) => sealAdvert(this.key, this.network, sealed)
    if (forged !== undefined) return FORGERIES[forged](body, seal)
    const raw = seal(body)
    if (what === 'advert') [this.base, this.full, this.newest] = [body, raw, null]
    if (what === 'update') this.newest = raw
    if (what === 'goodbye') this.full = null
    return raw
  }

  /** To `want_adverts`. */
  answer (asked) {
    const authors = asked.get('authors')
    const isWanted = this.full !== null && (authors.length > 0
      ? authors.some((author) => author.equals(this.key.public))
      : asked.get('regions').includes(regionOf(OFFER.place.zone)) && this.number >= asked.get('since') &&
        Buffer.compare(this.key.public, asked.get('after')) > 0)
    return { adverts: isWanted ? [this.full, ...(this.newest === null ? [] : [this.newest])] : [], more: false }
  }

  /** The next entry behind a feed: the offer. */
  entry (feed) {
    const prev = feed.at(-1)?.id ?? Buffer.alloc(32)
    return signArray(this.key, ENTRY_DOMAIN, [
      1, this.network, 'offer', this.key.public, feed.length, prev, this.now(), [], mapOf(OFFER)
    ])
  }

  _advert (number) {
    return {
      number,
      expires_at_ms: number + LIFETIME_MS,
      label: 'js',
      offer: OFFER,
      free_units: 3,
      first_slot: Math.floor(number / this.slotMs),
      surplus_s50_j: [5, 6, 7],
      surplus_s20_j: [1, 2, 3],
      grid_g_per_kwh: [200, 201, 202],
      attestations: [],
      addresses: []
    }
  }

  _update (number) {
    return {
      number,
      base_number: this.base.number,
      expires_at_ms: number + LIFETIME_MS,
      free_units: 2,
      shift_slots: 1,
      slots: 3,
      surplus_s50_j: [[2, [8]]],
      surplus_s20_j: [[2, [4]]],
      grid_g_per_kwh: [[2, [203]]],
      attestations: null,
      addresses: null
    }
  }

  _goodbye (number) {
    return {
      ...this._update(number),
      expires_at_ms: number,
      free_units: 0,
      shift_slots: 0,
      slots: 0,
      ...Object.fromEntries(SERIES.map((name) => [name, []]))
    }
  }
}
