// The protocol in another language, written from its description: canonical msgpack, the strict signature rule, entries,
// fork proofs, Merkle trees, checkpoints and proof files. Node.js alone; of libraries, its OpenSSL for Ed25519 and SHA-256.
// Every reader returns what it read or throws Refused, with the offset or the number of the check.

import { createHash, createPublicKey, verify as ed25519 } from "node:crypto";

export class Refused extends Error {
  constructor(message, details = {}) {
    super(message);
    Object.assign(this, details);
  }
}

const require = (condition, message, details) => {
  if (!condition) throw new Refused(message, details);
};
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();

// --- canonical msgpack ------------------------------------------------------------------------------------------------

export const BOUNDS = { bytes: 16 * 1024, string: 4096, array: 256, map: 64, nesting: 8 };
const BYTES_PER_VALUE = 8;

/** The value of canonical bytes: null, boolean, number, string, Buffer, Array, Map. Throws Refused with `offset`. */
export function decode(raw, bounds = BOUNDS) {
  require(raw.length <= bounds.bytes, "too many bytes", { offset: bounds.bytes });
  const reader = { raw, at: 0, values: 1, bounds };
  const value = readValue(reader, 0);
  require(reader.at === raw.length, "bytes follow", { offset: reader.at });
  return value;
}

function readValue(reader, depth) {
  const { bounds } = reader;
  const offset = reader.at;
  const head = readHead(reader);
  const check = (condition, message) => require(condition, message, { offset });
  if ("value" in head) return head.value;
  if (head.kind === "bytes") return take(reader, head.length, offset);
  if (head.kind === "string") {
    check(head.length <= bounds.string, "string too long");
    const start = reader.at;
    const bytes = take(reader, head.length, offset);
    const fault = utf8Fault(bytes);
    require(fault < 0, "not UTF-8", { offset: start + fault });
    return bytes.toString("utf8");
  }
  check(depth < bounds.nesting, "nested too deep");
  check(head.length <= (head.kind === "array" ? bounds.array : bounds.map), `${head.kind} too long`);
  reader.values += head.kind === "array" ? head.length : 2 * head.length;
  check(reader.values <= bounds.bytes / BYTES_PER_VALUE, "too many values");
  if (head.kind === "array") return Array.from({ length: head.length }, () => readValue(reader, depth + 1));
  const map = new Map();
  let previous = null;
  for (let i = 0; i < head.length; i++) {
    const keyOffset = reader.at;
    const peeking = { ...reader }; // a header that is wrong is wrong in a key too, before its kind is
    require(readHead(peeking).kind === "string", "a key that is no string", { offset: keyOffset });
    const key = readValue(reader, depth);
    const spelled = Buffer.from(key, "utf8");
    const ordered = previous === null || Buffer.compare(previous, spelled) < 0;
    require(ordered, "keys out of order", { offset: keyOffset });
    previous = spelled;
    map.set(key, readValue(reader, depth + 1));
  }
  return map;
}

/** {value} for what is complete with its header, else {kind, length}. */
function readHead(reader) {
  const { raw } = reader;
  const offset = reader.at;
  const check = (condition, message) => require(condition, message, { offset });
  check(offset < raw.length, "cut off");
  const first = raw[offset];
  reader.at += 1;
  if (first < 0x80) return { value: first };
  if (first < 0x90) return { kind: "map", length: first - 0x80 };
  if (first < 0xa0) return { kind: "array", length: first - 0x90 };
  if (first < 0xc0) return { kind: "string", length: first - 0xa0 };
  if (first >= 0xe0) return { value: first - 0x100 };
  if (first === 0xc0) return { value: null };
  if (first === 0xc2 || first === 0xc3) return { value: first === 0xc3 };
  const number = (width, signed = false) => {
    check(offset + 1 + width <= raw.length, "cut off");
    const view = new DataView(raw.buffer, raw.byteOffset + offset + 1, width);
    reader.at += width;
    const bits = { 1: 8, 2: 16, 4: 32, 8: 64 }[width];
    return BigInt(view[`get${width === 8 ? "Big" : ""}${signed ? "Int" : "Uint"}${bits}`](0));
  };
  const sized = { 0xc4: ["bytes", 1], 0xc5: ["bytes", 2], 0xc6: ["bytes", 4], 0xd9: ["string", 1], 0xda: ["string", 2] };
  Object.assign(sized, { 0xdb: ["string", 4], 0xdc: ["array", 2], 0xdd: ["array", 4], 0xde: ["map", 2], 0xdf: ["map", 4] });
  if (first in sized) {
    const [kind, width] = sized[first];
    const length = Number(number(width));
    check(lengthHeader(kind, length)[0] === first, "length not in its shortest form");
    return { kind, length };
  }
  check(first >= 0xcc && first <= 0xd3, "a float, an extension or the byte that begins nothing");
  const value = number(1 << (first - 0xcc) % 4, first >= 0xd0);
  check(integerHeader(value)[0] === first, "integer not in its shortest form");
  check(value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER, "integer too large");
  return { value: Number(value) };
}

function take(reader, length, offset) {
  require(reader.at + length <= reader.raw.length, "cut off", { offset });
  reader.at += length;
  return reader.raw.subarray(reader.at - length, reader.at);
}

/** The index of the first sequence that is no UTF-8 (RFC 3629: no surrogates, nothing overlong or above 10FFFF), or -1. */
function utf8Fault(bytes) {
  for (let i = 0; i < bytes.length; ) {
    const first = bytes[i];
    const length = first < 0x80 ? 1 : first >= 0xc2 && first < 0xe0 ? 2 : first >> 4 === 0xe ? 3 : first >> 3 === 0x1e ? 4 : 0;
    const rest = bytes.subarray(i + 1, i + length);
    if (length === 0 || rest.length < length - 1 || rest.some((byte) => byte >> 6 !== 2)) return i;
    const low = { 0xe0: 0xa0, 0xf0: 0x90 }[first] ?? 0x80;
    const high = { 0xed: 0x9f, 0xf4: 0x8f }[first] ?? 0xbf;
    if (first > 0xf4 || (length > 1 && (rest[0] < low || rest[0] > high))) return i;
    i += length;
  }
  return -1;
}

/** The canonical bytes of a value as `decode` returns it. */
export function encode(value) {
  if (value === null) return Buffer.from([0xc0]);
  if (typeof value === "boolean") return Buffer.from([value ? 0xc3 : 0xc2]);
  if (typeof value === "number") return integerHeader(BigInt(value));
  if (Buffer.isBuffer(value)) return Buffer.concat([lengthHeader("bytes", value.length), value]);
  if (typeof value === "string") {
    const bytes = Buffer.from(value, "utf8");
    return Buffer.concat([lengthHeader("string", bytes.length), bytes]);
  }
  if (Array.isArray(value)) return Buffer.concat([lengthHeader("array", value.length), ...value.map(encode)]);
  const items = [...value].map(([key, item]) => [Buffer.from(key, "utf8"), encode(key), encode(item)]);
  items.sort(([a], [b]) => Buffer.compare(a, b));
  return Buffer.concat([lengthHeader("map", value.size), ...items.flatMap(([, key, item]) => [key, item])]);
}

function integerHeader(value) {
  if (value >= -32n && value < 128n) return Buffer.from([Number(value & 0xffn)]);
  const widths = value >= 0n ? [0xcc, 8n, 9n, 17n, 33n] : [0xd0, 7n, 8n, 16n, 32n];
  for (const [power, bits] of [8n, 16n, 32n, 64n].entries()) {
    const fits = value >= 0n ? value < 1n << bits : value >= -(1n << (bits - 1n));
    if (fits) return headed(widths[0] + power, BigInt.asUintN(Number(bits), value), Number(bits) / 8);
  }
  throw new Refused("integer beyond 64 bits");
}

function lengthHeader(kind, length) {
  const [small, base, first] = { bytes: [0, 0, 0xc4], string: [32, 0xa0, 0xd9], array: [16, 0x90, 0xdc], map: [16, 0x80, 0xde] }[kind];
  if (length < small) return Buffer.from([base + length]);
  const widths = kind === "bytes" || kind === "string" ? [1, 2, 4] : [2, 4];
  const index = widths.findIndex((width) => length < 2 ** (8 * width));
  return headed(first + index, BigInt(length), widths[index]);
}

const headed = (first, number, width) =>
  Buffer.from([first, ...Buffer.from(number.toString(16).padStart(2 * width, "0"), "hex")]);

// --- signatures under the strict rule ---------------------------------------------------------------------------------

const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const power = (base, exponent) => {
  let result = 1n;
  for (; exponent > 0n; exponent >>= 1n, base = (base * base) % P) if (exponent & 1n) result = (result * base) % P;
  return result;
};
const D = (((-121665n * power(121666n, P - 2n)) % P) + P) % P;
const number = (bytes) => BigInt("0x" + (Buffer.from(bytes).reverse().toString("hex") || "0"));

/** y below p, and not of one of the eight points whose order divides 8: for order 8, dy⁴ + 2y² = 1. */
function isCanonicalPoint(bytes) {
  const y = number(bytes) & (2n ** 255n - 1n);
  const square = (y * y) % P;
  return y < P && y !== 0n && y !== 1n && y !== P - 1n && (D * square * square + 2n * square - 1n) % P !== 0n;
}

export function verify(publicKey, message, signature) {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  if (!isCanonicalPoint(publicKey) || !isCanonicalPoint(signature.subarray(0, 32))) return false;
  if (number(signature.subarray(32)) >= L) return false;
  try {
    const jwk = { kty: "OKP", crv: "Ed25519", x: publicKey.toString("base64url") };
    return ed25519(null, message, createPublicKey({ key: jwk, format: "jwk" }), signature);
  } catch {
    return false;
  }
}

// --- entries ----------------------------------------------------------------------------------------------------------

const ENTRY_DOMAIN = Buffer.from("heliotrope-ledger/entry/v1\0");

/** The entry in these bytes. Throws Refused with `check`. */
export function openEntry(raw, network) {
  const check = (number, condition) => require(condition, `check ${number}`, { check: number });
  const isBytes = (value, length) => Buffer.isBuffer(value) && value.length === length;
  let ten;
  try {
    ten = decode(raw);
  } catch (refusal) {
    throw new Refused(refusal.message, { check: 1 });
  }
  check(2, Array.isArray(ten) && ten.length === 10);
  const [version, entryNetwork, kind, author, seq, prev, timeMs, refs, body, signature] = ten;
  check(3, version === 1);
  check(4, [entryNetwork, author, prev].every((value) => isBytes(value, 32)));
  check(5, typeof kind === "string" && /^[a-z][a-z0-9_]{0,31}$/.test(kind));
  check(6, [seq, timeMs].every((value) => typeof value === "number" && value >= 0));
  check(7, Array.isArray(refs) && refs.length <= 16 && refs.every((ref) => isBytes(ref, 32)));
  check(8, body instanceof Map);
  check(9, isBytes(signature, 64));
  const signed = Buffer.concat([ENTRY_DOMAIN, encode(ten.slice(0, 9))]);
  check(10, entryNetwork.equals(network));
  check(11, verify(author, signed, signature));
  return { id: sha256(signed), network: entryNetwork, kind, author, seq, prev, timeMs, refs, body };
}

// --- invitations to closed networks -----------------------------------------------------------------------------------

const INVITATION_DOMAIN = Buffer.from("heliotrope-invitation/v1\0");
const INVITATION = { bytes: 2048, lasts_ms: 34_560_000_000, ahead_ms: 600_000 };

/** {issuer, body} of an invitation that lets this holder in now. Throws Refused with `check`. */
export function judgeInvitation(raw, network, admitters, holder, nowMs) {
  const check = (number, condition) => require(condition, `check ${number}`, { check: number });
  let five;
  try {
    five = decode(raw, { ...BOUNDS, bytes: INVITATION.bytes });
  } catch (refusal) {
    throw new Refused(refusal.message, { check: 1 });
  }
  check(2, Array.isArray(five) && five.length === 5);
  const [version, invitedTo, issuer, body, signature] = five;
  check(3, version === 1);
  check(4, Buffer.isBuffer(invitedTo) && invitedTo.equals(network));
  check(5, Buffer.isBuffer(issuer) && Buffer.isBuffer(signature));
  check(5, verify(issuer, Buffer.concat([INVITATION_DOMAIN, encode(five.slice(0, 4))]), signature));
  check(6, body instanceof Map && [...body.keys()].join() === "expires_at_ms,holder,issued_at_ms,label");
  const [expiresAt, invited, issuedAt, label] = body.values();
  check(6, [expiresAt, issuedAt].every((time) => typeof time === "number" && time >= 0));
  check(6, Buffer.isBuffer(invited) && invited.length === 32 && typeof label === "string" && [...label].length <= 32);
  check(6, expiresAt > issuedAt && expiresAt - issuedAt <= INVITATION.lasts_ms);
  check(7, admitters.some((key) => key.equals(issuer)));
  check(8, invited.equals(holder));
  check(9, issuedAt <= nowMs + INVITATION.ahead_ms);
  check(10, expiresAt > nowMs);
  return { issuer, body };
}

/** What two opened entries of one author prove: {seq, exact}; null where an honest author may sign both. */
export function proveFork(a, b) {
  const isTwin = a.seq === b.seq && !a.id.equals(b.id);
  const isStranger = a.seq + 1 === b.seq && !b.prev.equals(a.id);
  if (!a.author.equals(b.author) || !(isTwin || isStranger)) return null;
  return { seq: Math.min(a.seq, b.seq), exact: a.seq === b.seq && a.prev.equals(b.prev) };
}

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** The libp2p PeerId of an Ed25519 key: base58 of 00 24 08 01 12 20 and the key. */
export function peerId(publicKey) {
  let rest = BigInt("0x002408011220" + publicKey.toString("hex"));
  let digits = "";
  for (; rest > 0n; rest /= 58n) digits = BASE58[Number(rest % 58n)] + digits;
  return "1" + digits;
}

// --- Merkle trees (RFC 6962) ------------------------------------------------------------------------------------------

const leafHash = (data) => sha256(Buffer.from([0]), data);
const nodeHash = (left, right) => sha256(Buffer.from([1]), left, right);
const split = (size) => {
  let half = 1;
  while (2 * half < size) half *= 2;
  return half;
};

export function rootOf(leaves) {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return leafHash(leaves[0]);
  const half = split(leaves.length);
  return nodeHash(rootOf(leaves.slice(0, half)), rootOf(leaves.slice(half)));
}

export function verifyInclusion(root, size, index, leaf, proof) {
  require(index < size, "no such leaf");
  const climb = (place, width, path) => {
    require(width > 1 === path.length > 0, "proof of another length");
    if (width === 1) return leafHash(leaf);
    const half = split(width);
    const [below, sibling] = [path.slice(0, -1), path.at(-1)];
    return place < half ? nodeHash(climb(place, half, below), sibling) : nodeHash(sibling, climb(place - half, width - half, below));
  };
  require(climb(index, size, proof).equals(root), "another root");
}

export function verifyConsistency(oldSize, oldRoot, size, root, proof) {
  require(oldSize <= size, "smaller than before");
  if (oldSize === 0) {
    require(proof.length === 0 && oldRoot.equals(sha256()) && (size > 0 || root.equals(oldRoot)), "not the empty tree");
    return;
  }
  // The roots of the old and of the new tree within a subtree; `isWhole` as long as the old one began where it does.
  const climb = (old, width, path, isWhole) => {
    if (old === width) {
      require(path.length === (isWhole ? 0 : 1), "proof of another length");
      return isWhole ? [oldRoot, oldRoot] : [path[0], path[0]];
    }
    require(path.length > 0, "proof of another length");
    const half = split(width);
    const [below, sibling] = [path.slice(0, -1), path.at(-1)];
    if (old <= half) {
      const [before, after] = climb(old, half, below, isWhole);
      return [before, nodeHash(after, sibling)];
    }
    return climb(old - half, width - half, below, false).map((part) => nodeHash(sibling, part));
  };
  const [before, after] = climb(oldSize, size, proof, true);
  require(before.equals(oldRoot) && after.equals(root), "another root");
}

// --- checkpoints and proof files (C2SP tlog-checkpoint, signed-note, tlog-cosignature, tlog-proof) -----------------------

const stem = (network) => `heliotrope/1/${network.toString("hex").slice(0, 32)}`;
const keyId = (name, type, publicKey) => sha256(`${name}\n`, Buffer.from([type]), publicKey).subarray(0, 4);

function base64(text) {
  const raw = Buffer.from(text, "base64");
  require(raw.toString("base64") === text, "not base64");
  return raw;
}

function decimal(text) {
  require(/^(0|[1-9][0-9]*)$/.test(text) && BigInt(text) <= Number.MAX_SAFE_INTEGER, "not a decimal");
  return Number(text);
}

function hash(text) {
  const raw = base64(text);
  require(raw.length === 32, "not a hash");
  return raw;
}

/** A checkpoint that its author signed, and which of these witnesses cosigned it. */
export function openNote(text, network, witnesses) {
  require(/^[^\x00-\x09\x0b-\x1f]*\n$/.test(text), "a control character, or no newline at the end");
  const lines = text.slice(0, -1).split("\n");
  require(lines.length >= 5 && lines[3] === "", "not a checkpoint");
  const [origin, size, root] = [lines[0], decimal(lines[1]), hash(lines[2])];
  const signed = `${lines.slice(0, 3).join("\n")}\n`;
  const signatures = lines.slice(4).map((line) => {
    const parts = /^— ([^\s+]{1,256}) (\S+)$/u.exec(line);
    require(parts !== null, "not a signature line");
    const raw = base64(parts[2]);
    require(raw.length >= 5, "no room for a key id");
    return { name: parts[1], keyId: raw.subarray(0, 4), signature: raw.subarray(4) };
  });
  const keys = signatures.map((each) => `${each.name} ${each.keyId.toString("hex")}`);
  require(new Set(keys).size === keys.length, "a key that signs twice");
  const of = (name, type, key) => signatures.find((s) => s.name === name && s.keyId.equals(keyId(name, type, key)));

  require(origin.startsWith(`${stem(network)}/`), "another network");
  const author = publicKey(origin.slice(stem(network).length + 1));
  const own = of(origin, 1, author);
  require(own !== undefined && verify(author, Buffer.from(signed), own.signature), "not signed by its author");

  const cosignedAtS = {};
  for (const witness of witnesses) {
    const line = of(`${stem(network)}/witness/${peerId(witness)}`, 4, witness);
    if (line === undefined) continue;
    require(line.signature.length === 72, "not a cosignature");
    const time = line.signature.readBigUInt64BE();
    require(time > 0n && time < 2n ** 63n, "cosigned at no time");
    const message = Buffer.from(`cosignature/v1\ntime ${time}\n${signed}`);
    require(verify(witness, message, line.signature.subarray(8)), "a false cosignature");
    cosignedAtS[witness.toString("hex")] = Number(time);
  }
  const n = witnesses.length;
  const faulty = Math.floor((n - 1) / 3);
  const final = n > 0 && 2 * Object.keys(cosignedAtS).length > n + faulty;
  return { author, size, root, cosignedAtS, final };
}

function publicKey(peer) {
  let value = 0n;
  for (const digit of peer) {
    require(BASE58.includes(digit), "not base58");
    value = value * 58n + BigInt(BASE58.indexOf(digit));
  }
  const key = Buffer.from(value.toString(16).padStart(76, "0").slice(-64), "hex");
  require(peerId(key) === peer, "not an Ed25519 peer id");
  return key;
}

export function openProof(text, network, witnesses) {
  const end = text.indexOf("\n\n");
  require(end >= 0, "no empty line");
  const [title, extra, index, ...path] = text.slice(0, end).split("\n");
  require(title === "c2sp.org/tlog-proof@v1" && extra?.startsWith("extra ") && index?.startsWith("index "), "not a proof");
  const entry = openEntry(base64(extra.slice(6)), network);
  require(decimal(index.slice(6)) === entry.seq, "another index");
  const note = openNote(text.slice(end + 2), network, witnesses);
  require(note.author.equals(entry.author), "another author's checkpoint");
  verifyInclusion(note.root, note.size, entry.seq, entry.id, path.map(hash));
  return { entry, size: note.size, final: note.final };
}
