// The sun and the clear sky, as the specification says it: all integers, rounded down also below zero.

const ONE = 10n ** 9n;
const STEPS = 3600n;
const STEP = 10_000_000n;
const QUARTER = 900n;
const J2000_MS = 946_728_000_000n;
const DAY_MS = 86_400_000n;
const PART_MS = 1_200_000n;

const floor = (a, b) => a / b - (a % b < 0n ? 1n : 0n); // of b > 0
const ceil = (a, b) => -floor(-a, b);
const max = (a, b) => (a > b ? a : b);

const SINES = Array.from({ length: 3600 }, (_, k) => BigInt(Math.round(1e9 * Math.sin((k * Math.PI) / 1800))));
const table = (k) => SINES[Number(((k % STEPS) + STEPS) % STEPS)];

function sine(angle, ahead = 0n) {
  const step = floor(angle, STEP);
  const [low, high] = [table(step + ahead), table(step + 1n + ahead)];
  return low + floor((high - low) * (angle - step * STEP), STEP);
}

const cosine = (angle) => sine(angle, QUARTER);

function equatorial(atMs) {
  const d = atMs - J2000_MS;
  const anomaly = 35_752_800_000n + floor(98_560_030n * d, DAY_MS);
  const [s, c] = [sine(anomaly), cosine(anomaly)];
  const swing = floor(191_500_000n * s + floor(4_000_000n * s * c, ONE), ONE);
  const longitude = 28_046_000_000n + floor(98_564_740n * d, DAY_MS) + swing;
  const along = sine(longitude);
  return [cosine(longitude), floor(along * 917_504_909n, ONE), floor(along * 397_724_454n, ONE)];
}

function direction([x, y, z], atMs, latitude, longitude) {
  const sidereal = 28_046_062_000n + floor(36_098_564_737n * (atMs - J2000_MS), DAY_MS) + longitude * STEP;
  const [s, c] = [sine(sidereal), cosine(sidereal)];
  const [p, q] = [table(latitude), table(latitude + QUARTER)];
  const meridian = floor(x * c + y * s, ONE);
  return [floor(y * c - x * s, ONE), floor(z * q - meridian * p, ONE), floor(z * p + meridian * q, ONE)];
}

function light([east, north, up], tilt, azimuth) {
  const height = up + 18_406_000n;
  const direct = height > 0n ? floor(1200n * height, height + 120_000_000n) : 0n;
  const diffuse = height > 0n ? floor(130n * height, height + 200_000_000n) : 0n;
  if (tilt === null) return direct + diffuse;
  const [lean, rise] = [table(10n * tilt), table(10n * tilt + QUARTER)];
  const ahead = floor(east * table(10n * azimuth) + north * table(10n * azimuth + QUARTER), ONE);
  const incidence = max(floor(ahead * lean + up * rise, ONE), 0n);
  const level = floor(direct * max(up, 0n), ONE) + diffuse;
  const ground = floor(level * 200n, 1000n);
  return max(level, floor(2n * direct * incidence + diffuse * (ONE + rise) + ground * (ONE - rise), 2n * ONE));
}

/** What may be claimed of an interval, in joules, and whether it is night. Numbers in; tilt and azimuth may be null. */
export function solarBound(claim) {
  const big = Object.fromEntries(Object.entries(claim).map(([k, v]) => [k, typeof v === "number" ? BigInt(v) : v]));
  const duration = big.end_ms - big.start_ms;
  const parts = ceil(duration, PART_MS);
  const sun = equatorial(big.start_ms + floor(duration, 2n));
  const lights = Array.from({ length: Number(parts) + 1 }, (_, k) => {
    const atMs = big.start_ms + floor(duration * BigInt(k), parts);
    const seen = direction(sun, atMs, big.latitude_decidegrees, big.longitude_decidegrees);
    return light(seen, big.tilt_degrees, big.azimuth_degrees);
  });
  const sum = lights.slice(1).reduce((total, now, k) => total + max(now, lights[k]), 0n);
  const oriented = big.tilt_degrees !== null;
  const margin = oriented ? 1300n : 1100n;
  const extra = oriented && sum > 0n ? 50n : 5n;
  const bound = ceil(big.capacity_w * duration * (sum * margin + parts * extra * 1000n), parts * ONE);
  return { bound_j: Number(bound), is_night: sum === 0n };
}
