/** A synthetic recording of 33-byte records: LN and WR accel, battery, two ADC inputs, gyro, mag, as the real logs have. */
const recordBytes = 33;
const divider = 640;

/**
 * @param {number} sizeBytes about this long
 * @param {"motion" | "noise" | "calibrated"} kind `motion`: slow signals with small noise, as worn sensors give;
 * `noise`: every value anywhere; `calibrated`: noise, and calibration matrices without zeros
 */
export function syntheticRecording(sizeBytes, kind = "motion") {
  const records = Math.floor((sizeBytes - 256) / recordBytes);
  const bytes = new Uint8Array(256 + records * recordBytes);
  bytes.set(syntheticHeader(kind));
  writeRecords(bytes, 256, 0, records, kind);
  return bytes;
}

export function syntheticHeader(kind = "motion") {
  const header = new Uint8Array(256);
  const put = (at, ...values) => header.set(values, at);
  put(0, divider & 0xff, divider >> 8);
  put(3, 0xe0, 0x31, 0x80);
  put(24, 0x00, 0x06, 0x66, 0x00, 0xbe, 0xef);
  put(30, 0, 3);
  put(34, 0, 3, 0, 0, 16, 1);
  new DataView(header.buffer).setBigInt64(44, 1_761_782_400n * 32768n);
  put(214, 0xff, 0xff, 0xff);
  if (kind === "calibrated") {
    for (const at of [76, 97, 118, 139])
      put(at, 0, 10, 0, 20, 0, 30, 4, 1, 4, 2, 4, 3, 99, 7, -3 & 0xff, 5, 98, 2, -6 & 0xff, 4, 97);
  }
  return header;
}

/** Records `first` to `first + count` into `bytes` from `at` on. */
export function writeRecords(bytes, at, first, count, kind = "motion") {
  let state = (first * 2654435761 + 12345) >>> 0;
  const noise = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 16;
  };
  for (let record = first, p = at; record < first + count; record++, p += recordBytes) {
    const tick = (record * divider) % 2 ** 24;
    bytes[p] = tick & 0xff;
    bytes[p + 1] = (tick >> 8) & 0xff;
    bytes[p + 2] = tick >> 16;
    for (let channel = 0; channel < 15; channel++) {
      const calm = 2000 + 700 * Math.sin(record / (400 + 90 * channel)) + (noise() & 31);
      const value = kind === "motion" ? calm : noise();
      bytes[p + 3 + 2 * channel] = value & 0xff;
      bytes[p + 4 + 2 * channel] = (value >> 8) & 0xff;
    }
  }
}
