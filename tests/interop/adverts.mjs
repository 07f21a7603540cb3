// Adverts, updates and goodbyes, by §14 of protocol/SPEC.md. What its checks refuse throws Refused, with `check` and
// `isFault`: whether the sender is to blame.

import { decode, encode, Refused, verify } from '../vectors/protocol.mjs'
import { mapOf, signArray } from './keys.mjs'

const DOMAIN = Buffer.from('heliotrope-advert/v1\0')
const UPDATE_DOMAIN = Buffer.from('heliotrope-advert-update/v1\0')
const BOUNDS = { string: 4096, array: 256, map: 64, nesting: 8 }
const BATCH_MAX = 16
const BATCH_MAX_BYTES = 65536
const ADVERT_MAX_BYTES = 12288
const LIFETIME_MAX_MS = 3600000
const CLOCK_SKEW_MAX_MS = 600000
const SERIES = ['surplus_s50_j', 'surplus_s20_j', 'grid_g_per_kwh']

export const REGIONS = {
  africa: 'AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW IO KE KM LR LS LY MA MG ML MR MU MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW',
  asia: 'AE AF AM AZ BD BH BN BT CN GE HK ID IL IN IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY NP OM PH PK PS QA SA SG SY TH TJ TL TM TR TW UZ VN YE',
  europe: 'AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK',
  'north-america': 'AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV SX TC TT US VC VG VI',
  oceania: 'AS AU CC CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TO TV UM VU WF WS',
  'south-america': 'AR BO BR CL CO EC FK GF GY PE PY SR UY VE'
}

export function regionOf (zone) {
  const country = zone.split('-')[0]
  return Object.keys(REGIONS).find((region) => REGIONS[region].split(' ').includes(country)) ?? 'other'
}

// --- tables of fields ------------------------------------------------------------------------------------------------

const integer = (low, high = Number.MAX_SAFE_INTEGER) => (value) => typeof value === 'number' && value >= low && value <= high
const text = (low, high) => (value) => typeof value === 'string' && [...value].length >= low && [...value].length <= high
const bytes = (length) => (value) => Buffer.isBuffer(value) && value.length === length
const oneOf = (...words) => (value) => words.includes(value)
const array = (high, isItem, low = 0) => (value) =>
  Array.isArray(value) && value.length >= low && value.length <= high && value.every(isItem)
const pair = (isFirst, isSecond) => (value) => Array.isArray(value) && value.length === 2 && isFirst(value[0]) && isSecond(value[1])
const orNil = (isValid) => (value) => value === null || isValid(value)
const map = (fields) => (value) =>
  value instanceof Map && value.size === Object.keys(fields).length && Object.entries(fields).every(([name, isValid]) => isValid(value.get(name)))

const count = integer(0)
const positive = integer(1)
const series = array(256, count)
const runs = array(8, pair(integer(0, 255), array(256, count, 1)))
const attestations = array(16, bytes(32))
const addresses = array(8, text(0, 256))

const isOffer = map({
  device: text(1, 128),
  units: integer(1, 65536),
  memory_mb: positive,
  rate_tps: positive,
  idle_w: count,
  peak_w: positive,
  pue_permille: integer(1000, 10000),
  embodied_ug_per_unit_hour: count,
  bandwidth_mbps: positive,
  price_microcredits_per_unit_hour: count,
  tenant: text(0, 64),
  place: map({
    zone: (value) => typeof value === 'string' && /^[A-Z0-9][A-Z0-9-]{1,31}$/.test(value),
    latitude_decidegrees: integer(-900, 900),
    longitude_decidegrees: integer(-1800, 1800)
  }),
  carrier: oneOf('solar', 'wind', 'hydro', 'grid'),
  capacity_w: count,
  own_g_per_kwh: count
})

const hasFieldsOfAdvert = map({
  number: count,
  expires_at_ms: count,
  label: text(0, 32),
  offer: isOffer,
  free_units: count,
  first_slot: count,
  surplus_s50_j: series,
  surplus_s20_j: series,
  grid_g_per_kwh: series,
  attestations,
  addresses
})
const isAdvert = (body) => hasFieldsOfAdvert(body) && new Set(SERIES.map((name) => body.get(name).length)).size === 1

const isUpdate = map({
  number: count,
  base_number: count,
  expires_at_ms: count,
  free_units: count,
  shift_slots: integer(0, 256),
  slots: integer(0, 256),
  surplus_s50_j: runs,
  surplus_s20_j: runs,
  grid_g_per_kwh: runs,
  attestations: orNil(attestations),
  addresses: orNil(addresses)
})

// --- reading ---------------------------------------------------------------------------------------------------------

const check = (number, condition, isFault = true) => {
  if (!condition) throw new Refused(`check ${number}`, { check: number, isFault })
}

function read (number, raw, maxBytes) {
  try {
    return decode(raw, { ...BOUNDS, bytes: maxBytes })
  } catch (refusal) {
    throw new Refused(`check ${number}: ${refusal.message}`, { check: number, isFault: true })
  }
}

/** Checks 3 to 8: {author, body, isUpdate}. */
export function openAdvert (raw, network) {
  const five = read(3, raw, ADVERT_MAX_BYTES)
  check(4, Array.isArray(five) && five.length === 5)
  const [version, ofNetwork, author, body, signature] = five
  check(5, version === 1)
  check(6, Buffer.isBuffer(ofNetwork) && ofNetwork.equals(network))
  const changes = body instanceof Map && body.has('base_number')
  const signed = Buffer.concat([changes ? UPDATE_DOMAIN : DOMAIN, encode(five.slice(0, 4))])
  check(7, Buffer.isBuffer(author) && Buffer.isBuffer(signature) && verify(author, signed, signature))
  check(8, changes ? isUpdate(body) : isAdvert(body))
  return { author, body, isUpdate: changes }
}

/** Checks 9 to 12; without a region, as for what was asked for, all but 10. */
export function judge ({ body, isUpdate: changes }, region, nowMs) {
  const [number, expiresAtMs] = [body.get('number'), body.get('expires_at_ms')]
  const isGoodbye = changes && number === expiresAtMs
  check(9, isGoodbye || (number < expiresAtMs && expiresAtMs - number <= LIFETIME_MAX_MS))
  check(10, region === null || changes || regionOf(body.get('offer').get('place').get('zone')) === region)
  check(11, (isGoodbye ? number + LIFETIME_MAX_MS : expiresAtMs) > nowMs, false)
  check(12, number <= nowMs + CLOCK_SKEW_MAX_MS, false)
}

/** A gossip message of adverts. */
export function openBatch (data, network, region, nowMs) {
  const raws = read(1, data, BATCH_MAX_BYTES)
  check(2, array(BATCH_MAX, Buffer.isBuffer, 1)(raws))
  const items = raws.map((raw) => openAdvert(raw, network))
  for (const item of items) judge(item, region, nowMs)
  return items
}

/** What an author says by an update of this base. */
export function applied (base, update) {
  const refuse = (condition) => { if (!condition) throw new Refused('an update that leads to no advert') }
  refuse(base.get('number') === update.get('base_number'))
  const said = new Map(base)
  for (const name of SERIES) {
    const values = base.get(name).slice(update.get('shift_slots')).slice(0, update.get('slots'))
    for (const [place, run] of update.get(name)) {
      refuse(place <= values.length && place + run.length <= update.get('slots'))
      values.splice(place, run.length, ...run)
    }
    refuse(values.length === update.get('slots'))
    said.set(name, values)
  }
  for (const name of ['number', 'expires_at_ms', 'free_units']) said.set(name, update.get(name))
  for (const name of ['attestations', 'addresses']) if (update.get(name) !== null) said.set(name, update.get(name))
  said.set('first_slot', base.get('first_slot') + update.get('shift_slots'))
  refuse(isAdvert(said))
  return said
}

/** What each author says now. */
export class Book {
  constructor () {
    this.bases = new Map()
    this.said = new Map()
    this.last = new Map() // author → number of the newest item, goodbyes too
  }

  /** What came of an item: 'full', 'updated', 'left', 'old', or 'lacking': its base is to be asked for. */
  take ({ author, body, isUpdate: changes }) {
    const key = author.toString('hex')
    const number = body.get('number')
    if (number <= (this.last.get(key) ?? -1)) return 'old'
    if (changes && number === body.get('expires_at_ms')) {
      for (const kept of [this.bases, this.said]) kept.delete(key)
      this.last.set(key, number)
      return 'left'
    }
    const base = this.bases.get(key)
    if (changes && base?.get('number') !== body.get('base_number')) return 'lacking'
    this.said.set(key, changes ? applied(base, body) : body)
    if (!changes) this.bases.set(key, body)
    this.last.set(key, number)
    return changes ? 'updated' : 'full'
  }
}

// --- writing ---------------------------------------------------------------------------------------------------------

/** The signed bytes of an advert, or of an update: its body has a `base_number`. Bodies are plain objects. */
export const sealAdvert = (key, network, body) =>
  signArray(key, 'base_number' in body ? UPDATE_DOMAIN : DOMAIN, [1, network, key.public, mapOf(body)])

export const encodeBatch = (raws) => encode(raws)
