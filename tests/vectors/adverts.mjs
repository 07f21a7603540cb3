// Adverts in another language, written from their description: batches, full adverts, updates and goodbyes.

import { Refused, BOUNDS, decode, encode, verify } from "./protocol.mjs";

const HOUR_MS = 3_600_000;
const require = (condition, check, verdict = "Reject") => {
  if (!condition) throw new Refused(`check ${check}`, { check, verdict });
};
const attempt = (act, check) => {
  try {
    return act();
  } catch (error) {
    if (error instanceof Refused) throw new Refused(error.message, { check, verdict: "Reject" });
    throw error;
  }
};

// --- fields -----------------------------------------------------------------------------------------------------------

const integer = (low, high = Number.MAX_SAFE_INTEGER) => (value) => Number.isInteger(value) && value >= low && value <= high;
const bytes = (length) => (value) => Buffer.isBuffer(value) && value.length === length;
const text = (high) => (value) => typeof value === "string" && [...value].length <= high;
const array = (item, high, low = 0) => (value) =>
  Array.isArray(value) && value.length >= low && value.length <= high && value.every(item);
const map = (fields) => (value) =>
  value instanceof Map && value.size === Object.keys(fields).length &&
  Object.entries(fields).every(([name, holds]) => value.has(name) && holds(value.get(name)));
const orNil = (holds) => (value) => value === null || holds(value);

const perSlot = array(integer(0), 256);
const attestations = array(bytes(32), 16);
const addresses = array(text(256), 8);
const run = (value) =>
  Array.isArray(value) && value.length === 2 && integer(0, 255)(value[0]) && array(integer(0), 256, 1)(value[1]);
const runs = array(run, 8);
const SLOT_ARRAYS = ["surplus_s50_j", "surplus_s20_j", "grid_g_per_kwh"];
const isUpdate = map({
  number: integer(0), base_number: integer(0), expires_at_ms: integer(0), free_units: integer(0), shift_slots: integer(0, 256),
  slots: integer(0, 256), surplus_s50_j: runs, surplus_s20_j: runs, grid_g_per_kwh: runs, attestations: orNil(attestations),
  addresses: orNil(addresses),
});
const fieldsOfAdvert = map({
  number: integer(0), expires_at_ms: integer(0), label: text(32), offer: (value) => value instanceof Map, free_units: integer(0),
  first_slot: integer(0), surplus_s50_j: perSlot, surplus_s20_j: perSlot, grid_g_per_kwh: perSlot, attestations, addresses,
});
const isAdvert = (body) => fieldsOfAdvert(body) && new Set(SLOT_ARRAYS.map((name) => body.get(name).length)).size === 1;

// --- reading ----------------------------------------------------------------------------------------------------------

/** {author, kind, body}. Throws Refused with `check`. */
export function openAdvert(raw, network) {
  const value = attempt(() => decode(raw, { ...BOUNDS, bytes: 12 * 1024 }), 3);
  require(Array.isArray(value) && value.length === 5, 4);
  const [version, of, author, body, signature] = value;
  require(version === 1, 5);
  require(Buffer.isBuffer(of) && of.equals(network), 6);
  require(Buffer.isBuffer(author) && Buffer.isBuffer(signature), 7);
  const changes = body instanceof Map && body.has("base_number");
  const domain = changes ? "heliotrope-advert-update/v1\0" : "heliotrope-advert/v1\0";
  require(verify(author, Buffer.concat([Buffer.from(domain), encode(value.slice(0, 4))]), signature), 7);
  require(changes ? isUpdate(body) : isAdvert(body), 8);
  const isGoodbye = changes && body.get("number") === body.get("expires_at_ms");
  return { author, kind: isGoodbye ? "goodbye" : changes ? "update" : "advert", body };
}

/** The items of a gossiped message. `regionOf(zone)`. Throws Refused with `check` and `verdict`. */
export function judgeAdverts(data, network, region, nowMs, regionOf) {
  const raws = attempt(() => decode(data, { ...BOUNDS, bytes: 64 * 1024 }), 1);
  require(array(Buffer.isBuffer, 16, 1)(raws), 2);
  const items = raws.map((raw) => openAdvert(raw, network));
  for (const { kind, body } of items) {
    const [number, expires] = [body.get("number"), body.get("expires_at_ms")];
    require(kind === "goodbye" || (expires > number && expires - number <= HOUR_MS), 9);
    if (kind === "advert") require(regionOf(body.get("offer").get("place").get("zone")) === region, 10);
    require((kind === "goodbye" ? number + HOUR_MS : expires) > nowMs, 11, "Ignore");
    require(number <= nowMs + 600_000, 12, "Ignore");
  }
  return items;
}

/** The body that an update of this base leads to; null if it leads to none. */
export function updated(base, update) {
  if (update.get("base_number") !== base.get("number")) return null;
  const slots = update.get("slots");
  const result = new Map(base);
  for (const name of SLOT_ARRAYS) {
    const values = base.get(name).slice(update.get("shift_slots")).slice(0, slots);
    for (const [start, run] of update.get(name)) {
      if (start > values.length || start + run.length > slots) return null;
      values.splice(start, run.length, ...run);
    }
    if (values.length !== slots) return null;
    result.set(name, values);
  }
  for (const name of ["attestations", "addresses"]) if (update.get(name) !== null) result.set(name, update.get(name));
  for (const name of ["number", "expires_at_ms", "free_units"]) result.set(name, update.get(name));
  result.set("first_slot", base.get("first_slot") + update.get("shift_slots"));
  return isAdvert(result) ? result : null;
}
