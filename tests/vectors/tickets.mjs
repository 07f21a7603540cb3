// Tickets in another language, written from their description: the authorization of a request for a blob.

import { createHash } from "node:crypto";
import { Refused, decode, encode, verify } from "./protocol.mjs";

const TICKET_DOMAIN = Buffer.from("heliotrope-ticket/v1\0");
const PROOF_DOMAIN = Buffer.from("heliotrope-ticket-proof/v1\0");
const TICKET_MAX_BYTES = 2048;
const PROOF_AGE_MAX_MS = 60_000;

const isBytes = (length) => (value) => Buffer.isBuffer(value) && value.length === length;
const isCount = (max) => (value) => typeof value === "number" && value >= 0 && value <= max;
const isMap = (fields) => (value) =>
  value instanceof Map && value.size === Object.keys(fields).length &&
  Object.entries(fields).every(([name, isOne]) => value.has(name) && isOne(value.get(name)));
const isTicket = isMap({
  blob: isMap({ sha256: isBytes(32), size_bytes: isCount(64 * 2 ** 30) }),
  url: (value) => typeof value === "string" && /^https:\/\/[0-9A-Za-z.:\[\]-]{1,200}$/.test(value),
  certificate_sha256: isBytes(32),
  server: isBytes(32),
  holder: isBytes(32),
  award: isBytes(32),
  shard: isCount(255),
  expires_at_ms: isCount(2 ** 53 - 1),
  signature: isBytes(64),
});

/** The ticket behind an authorization. Throws Refused with `check`. */
export function redeem(authorization, server, networkMs, unixMs) {
  const check = (number, condition) => {
    if (!condition) throw new Refused(`check ${number}`, { check: number });
  };
  const form = /^Heliotrope ([^.]*)\.([0-9]{1,16})\.([^.]*)$/.exec(authorization);
  check(1, form !== null && authorization.length <= "Heliotrope ".length + 2 * TICKET_MAX_BYTES);
  const [raw, proof] = [Buffer.from(form[1], "base64url"), Buffer.from(form[3], "base64url")];
  let ticket;
  try {
    ticket = decode(raw, { bytes: TICKET_MAX_BYTES, string: 4096, array: 256, map: 64, nesting: 8 });
  } catch {
    check(1, false);
  }
  check(1, isTicket(ticket));
  const unsigned = new Map([...ticket].filter(([name]) => name !== "signature"));
  const signed = Buffer.concat([TICKET_DOMAIN, encode(unsigned)]);
  check(2, ticket.get("server").equals(server) && verify(server, signed, ticket.get("signature")));
  check(3, ticket.get("expires_at_ms") > networkMs);
  check(4, Math.abs(unixMs - Number(form[2])) <= PROOF_AGE_MAX_MS);
  const moment = Buffer.alloc(8);
  moment.writeBigUInt64BE(BigInt(form[2]));
  const proven = Buffer.concat([PROOF_DOMAIN, createHash("sha256").update(raw).digest(), moment]);
  check(4, verify(ticket.get("holder"), proven, proof));
  return ticket;
}
