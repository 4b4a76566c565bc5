// Writes samples/: synthetic recordings for `npm start`, the same bytes every time. Nothing was recorded; nobody is in it.
import { mkdirSync, writeFileSync } from "node:fs";
import { crc32, deflateSync } from "node:zlib";

const folder = new URL("../samples/", import.meta.url);
const put = (path, bytes) => {
  mkdirSync(new URL(path.slice(0, path.lastIndexOf("/") + 1), folder), { recursive: true });
  writeFileSync(new URL(path, folder), bytes);
};

/** 16-bit mono PCM with a tone that glides from one pitch to another: a bird, more or less. */
function wav(seconds, rateHz, fromHz, toHz) {
  const samples = Math.round(seconds * rateHz);
  const bytes = Buffer.alloc(44 + 2 * samples);
  bytes.write("RIFF", 0);
  bytes.writeUInt32LE(bytes.length - 8, 4);
  bytes.write("WAVEfmt ", 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(rateHz, 24);
  bytes.writeUInt32LE(2 * rateHz, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write("data", 36);
  bytes.writeUInt32LE(2 * samples, 40);
  let phase = 0;
  for (let n = 0; n < samples; n++) {
    phase += (2 * Math.PI * (fromHz + ((toHz - fromHz) * n) / samples)) / rateHz;
    bytes.writeInt16LE(Math.round(8000 * Math.sin(phase) * Math.sin((Math.PI * n) / samples)), 44 + 2 * n);
  }
  return bytes;
}

/** A grey gradient with a darker shape: what a camera trap sees at night. */
function png(width, height) {
  const rows = Buffer.alloc(height * (width + 1));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const inside = ((x - width / 2) / 20) ** 2 + ((y - height / 2) / 10) ** 2 < 1;
      rows[y * (width + 1) + 1 + x] = inside ? 40 : 90 + Math.round((100 * y) / height);
    }
  }
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const out = Buffer.alloc(body.length + 8);
    out.writeUInt32BE(data.length, 0);
    body.copy(out, 4);
    out.writeUInt32BE(crc32(body), body.length + 4);
    return out;
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head[8] = 8;
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]),
    chunk("IHDR", head),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/** Shimmer3, LogAndStream 0.16.1, 51.2 Hz: low-noise accelerometer and battery, a minute of slow turning. */
function shimmer(samples) {
  const head = Buffer.alloc(256, 0xff);
  head.writeUInt16LE(640, 0);
  head[2] = 1;
  head.set([0x80, 0x20, 0, 0, 0], 3);
  head.set([0, 155, 1, 8, 0, 0, 0, 0, 0x80, 0, 0, 9], 8);
  head.fill(0, 20, 24);
  head.set([0x00, 0x06, 0x66, 0x00, 0xa1, 0xb2], 24);
  head.writeUInt16BE(3, 30);
  head.set([1, 1], 32);
  head.writeUInt16BE(3, 34);
  head.writeUInt16BE(0, 36);
  head.set([16, 1], 38);
  head.fill(0, 40, 44);
  const startTicks = 2_000_000;
  head.writeBigInt64BE(BigInt(1_772_344_800 * 32_768 - startTicks), 44);
  head.writeUInt32BE(1_772_344_000, 52);
  head.fill(0, 182, 214);
  head.writeUInt32LE(startTicks, 252);
  head[251] = 0;
  const records = Buffer.alloc(samples * 11);
  for (let n = 0; n < samples; n++) {
    const at = n * 11;
    records.writeUIntLE((startTicks + 640 * n) % 2 ** 24, at, 3);
    const angle = (2 * Math.PI * n) / 500;
    records.writeUInt16LE(Math.round(2047 + 814 * Math.sin(angle)), at + 3);
    records.writeUInt16LE(Math.round(2047 + 814 * Math.cos(angle)), at + 5);
    records.writeUInt16LE(2047, at + 7);
    records.writeUInt16LE(2650, at + 9);
  }
  return Buffer.concat([head, records]);
}

put("site-A/950349/20260301_060000.WAV", wav(0.5, 16_000, 2_000, 4_000));
put("site-A/950349/20260301_061000.WAV", wav(0.4, 16_000, 3_500, 1_500));
put("site-B/950350/20260301_060000.WAV", wav(0.6, 16_000, 900, 1_100));
put("site-B/camera 2/IMG_0001.png", png(160, 90));
put("lab/Walk_1772344000/Shimmer_A1B2-000/000", shimmer(3_072));
put(
  "clinic/ECG_Report_20260301_101500.json",
  Buffer.from(`${JSON.stringify({ recording: "synthetic", heart_rate: 62, qrs_duration: 92 }, null, 2)}\n`),
);
