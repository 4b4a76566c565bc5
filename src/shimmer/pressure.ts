import type { PressureChip } from "./boards.ts";
import { type Header, headerAt } from "./header.ts";

/** Compensates raw temperature and pressure in place to °C and kPa, rows `from` to `to` (SF 9.4). */
export type CompensatePressure = (temperature: Float64Array, pressure: Float64Array, from: number, to: number) => void;

/** °C and Pa of one pair of raw readings. */
export type Compensate = (rawTemperature: number, rawPressure: number) => { celsius: number; pascal: number };

/** Coefficients of each chip as they stand in the header, or `null` for a chip that has none. */
const chips: Readonly<
  Record<PressureChip, { coefficientBytes: number; make: (view: DataView, oversampling: number) => Compensate }>
> = {
  BMP180: { coefficientBytes: 22, make: bmp180 },
  BMP280: { coefficientBytes: 24, make: bmp280 },
  BMP390: { coefficientBytes: 21, make: bmp390 },
  BMP581: { coefficientBytes: 0, make: bmp581 },
};

/** `null` when the chip needs coefficients and the header holds none (all `00` or all `FF`). */
export function pressureConverter(header: Header): CompensatePressure | null {
  const { coefficientBytes, make } = chips[header.pressureChip];
  const block = pressureBlock(header);
  const coefficients = block.subarray(0, coefficientBytes);
  // Byte by byte: the BMP280's last two stand apart from the others, and may be blank in the other way.
  const isEmpty = coefficients.every((byte) => byte === 0 || byte === 0xff);
  if (coefficientBytes > 0 && isEmpty) return null;
  const compensate = make(new DataView(block.buffer, block.byteOffset), header.setup.pressureOversampling);
  return (temperature, pressure, from, to) => {
    for (let row = from; row < to; row++) {
      const { celsius, pascal } = compensate(temperature[row]!, pressure[row]!);
      temperature[row] = celsius;
      pressure[row] = pascal / 1000;
    }
  };
}

/** 24 bytes: 160-181, and the last two of the BMP280 at 222-223. */
function pressureBlock({ bytes }: Header): Uint8Array {
  const block = new Uint8Array(24);
  block.set(bytes.subarray(headerAt.pressure, headerAt.pressure + 22));
  block.set(bytes.subarray(headerAt.pressureTail, headerAt.pressureTail + 2), 22);
  return block;
}

/** Bosch BMP180, floating-point form. Raw pressure is the 24-bit word, still shifted left by 8 − oversampling. */
export function bmp180(view: DataView, oversampling: number): Compensate {
  const i16 = (index: number) => view.getInt16(2 * index);
  const u16 = (index: number) => view.getUint16(2 * index);
  const [ac1, ac2, ac3, ac4, ac5, ac6] = [i16(0), i16(1), i16(2), u16(3), u16(4), u16(5)];
  const [b1, b2, mc, md] = [i16(6), i16(7), i16(9), i16(10)];
  return (rawTemperature, rawPressure) => {
    const t1 = ((rawTemperature - ac6) * ac5) / 2 ** 15;
    const b5 = t1 + (mc * 2 ** 11) / (t1 + md);
    const b6 = b5 - 4000;
    const b3 = ((4 * ac1 + (b2 * (b6 ** 2 / 2 ** 12)) / 2 ** 11 + (ac2 * b6) / 2 ** 11) * 2 ** oversampling + 2) / 4;
    const p1 = (ac3 * b6) / 2 ** 13 + (b1 * (b6 ** 2 / 2 ** 12)) / 2 ** 16;
    const b4 = (ac4 * ((p1 + 2) / 4 + 32768)) / 2 ** 15;
    const b7 = (rawPressure / 2 ** (8 - oversampling) - b3) * (50000 >> oversampling);
    const p = b7 < 2 ** 31 ? (2 * b7) / b4 : 2 * (b7 / b4);
    const pascal = p + (((p / 256) ** 2 * 3038) / 2 ** 16 - (7357 * p) / 2 ** 16 + 3791) / 16;
    return { celsius: (b5 + 8) / 160, pascal };
  };
}

/** Bosch BMP280, floating-point form. Raw temperature is a 16-bit word, raw pressure a 24-bit one. */
export function bmp280(view: DataView): Compensate {
  const i16 = (index: number) => view.getInt16(2 * index, true);
  const u16 = (index: number) => view.getUint16(2 * index, true);
  const [t1, t2, t3, p1] = [u16(0), i16(1), i16(2), u16(3)];
  const [p2, p3, p4, p5, p6, p7, p8, p9] = [i16(4), i16(5), i16(6), i16(7), i16(8), i16(9), i16(10), i16(11)];
  return (rawTemperature, rawPressure) => {
    const t = rawTemperature * 16;
    const fine = (t / 2 ** 14 - t1 / 2 ** 10) * t2 + (t / 2 ** 17 - t1 / 2 ** 13) ** 2 * t3;
    const v = fine / 2 - 64000;
    const v2 = ((v ** 2 * p6) / 2 ** 15 + 2 * v * p5) / 4 + p4 * 2 ** 16;
    const v1 = (1 + ((p3 * v ** 2) / 2 ** 19 + p2 * v) / 2 ** 19 / 2 ** 15) * p1;
    const celsius = fine / 5120;
    if (v1 === 0) return { celsius, pascal: Number.NaN };
    const q = ((2 ** 20 - rawPressure / 16 - v2 / 4096) * 6250) / v1;
    return { celsius, pascal: q + ((p9 * q ** 2) / 2 ** 31 + (q * p8) / 2 ** 15 + p7) / 16 };
  };
}

/** Bosch BMP390. T1 and T2 are unsigned (the vendor's Java reads them signed). */
export function bmp390(view: DataView): Compensate {
  const t1 = view.getUint16(0, true) * 2 ** 8;
  const t2 = view.getUint16(2, true) / 2 ** 30;
  const t3 = view.getInt8(4) / 2 ** 48;
  const p1 = (view.getInt16(5, true) - 2 ** 14) / 2 ** 20;
  const p2 = (view.getInt16(7, true) - 2 ** 14) / 2 ** 29;
  const p3 = view.getInt8(9) / 2 ** 32;
  const p4 = view.getInt8(10) / 2 ** 37;
  const p5 = view.getUint16(11, true) * 2 ** 3;
  const p6 = view.getUint16(13, true) / 2 ** 6;
  const p7 = view.getInt8(15) / 2 ** 8;
  const p8 = view.getInt8(16) / 2 ** 15;
  const p9 = view.getInt16(17, true) / 2 ** 48;
  const p10 = view.getInt8(19) / 2 ** 48;
  const p11 = view.getInt8(20) / 2 ** 65;
  return (rawTemperature, u) => {
    const d = rawTemperature - t1;
    const t = clamp(d * t2 + d ** 2 * t3, -40, 85);
    const base = p5 + p6 * t + p7 * t ** 2 + p8 * t ** 3;
    const slope = p1 + p2 * t + p3 * t ** 2 + p4 * t ** 3;
    const pascal = base + u * slope + u ** 2 * (p9 + p10 * t) + u ** 3 * p11;
    return { celsius: t, pascal: clamp(pascal, 30_000, 125_000) };
  };
}

/** Bosch BMP581: compensated in the chip. Its temperature is signed; the word table reads 24 bits unsigned. */
export function bmp581(): Compensate {
  return (rawTemperature, rawPressure) => ({
    celsius: (rawTemperature < 2 ** 23 ? rawTemperature : rawTemperature - 2 ** 24) / 65536,
    pascal: rawPressure / 64,
  });
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
