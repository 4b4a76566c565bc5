import { describe, expect, it } from "vitest";
import { gsrSample, skinTemperature } from "../../src/shimmer/conversions.ts";
import { bmp180, bmp280, bmp390, bmp581 } from "../../src/shimmer/pressure.ts";
import { decode } from "../../src/shimmer/recording.ts";
import { file, type Spelling, u16, u16r, u24r } from "./support/recording.ts";

/** Values of the first record by signal. */
function first(spelling: Spelling, record: readonly number[]): Record<string, number> {
  const { columns } = decode(file(spelling, [record]));
  return Object.fromEntries(columns.map(({ signal, values }) => [signal, values[0]!]));
}

const view = (numbers: readonly number[]) => new DataView(Uint8Array.from(numbers).buffer);

describe("GSR, the vectors of SF 9.2", () => {
  it.each([
    [0, 0, 4, 8, 125],
    [1000, 0, 4, 86.4142, 11.57218],
    [1000, 3, 4, 7093.7, 0.14097],
    [2000, 1, 4, 148.6736, 6.726143],
    [2000, 2, 2, 518.0266, 1.930403],
    [600, 3, 4, 4504500, 0.000222],
    [4095, 0, 4, 8.04, 124.378],
    [3000, 3, 3, 971.845, 1.028971],
  ])("adc %d, range %d, setting %d: %d kOhms, %d uS", (adc, range, setting, kiloOhms, microSiemens) => {
    const sample = gsrSample(adc, range, setting);
    expect(sample.kiloOhms / kiloOhms).toBeCloseTo(1, 5);
    expect(Math.abs(1000 / sample.kiloOhms - microSiemens)).toBeLessThan(0.0005 * Math.max(1e-3, microSiemens));
  });

  it("flags open electrodes, whose value is that of best contact", () => {
    expect(gsrSample(682, 0, 4)).toEqual({ kiloOhms: 8, range: 0, isOpen: true });
    expect(gsrSample(683, 3, 4).isOpen).toBe(false);
  });

  it.each([
    [0, 63],
    [1, 220],
    [2, 680],
    [3, 4700],
  ])("a fixed range %d ends at %d kOhms", (setting, most) => {
    expect(gsrSample(690, 0, setting).kiloOhms).toBe(most);
    expect(gsrSample(4095, 0, setting).kiloOhms).toBeGreaterThanOrEqual([8, 63, 220, 680][setting]!);
  });

  it("becomes four columns, three of them Consensys'", () => {
    const spelling = { enabled: [0x04], patch: { 11: [4 << 1] } };
    expect(first(spelling, u16(0x4000 | 2000))).toMatchObject({ GSR_Range: 1, GSR_Open: 0 });
    const bytes = file(spelling, [u16(0)]);
    expect(decode(bytes, { profile: "consensys" }).columns.map(({ signal }) => signal)).toEqual([
      "Timestamp_Unix",
      "GSR_Range",
      "GSR_Skin_Conductance",
      "GSR_Skin_Resistance",
    ]);
  });
});

describe("ADC channels", () => {
  it("are mV of 3 V over 4095, not masked to 12 bits", () => {
    const values = first({ enabled: [0, 0x20 | 0x01, 0x80] }, [...u16(2730), ...u16(65535), ...u16(4095)]);
    expect(values).toMatchObject({
      Battery: 2730 * (6000 / 4095),
      Int_Exp_A13: 65535 * (3000 / 4095),
      Int_Exp_A14: 3000,
    });
  });

  it("bridge amplifier and skin temperature share a pin", () => {
    const record = [...u16(600), ...u16(2500)];
    expect(first({ enabled: [0, 0x80] }, record).Bridge_Amp_High).toBeCloseTo((540 * 3000) / 551 / 4095, 12);
    expect(first({ enabled: [0, 0x80] }, record).Bridge_Amp_Low).toBeCloseTo((550 * 3000) / 183.7 / 4095, 12);
    const skin = first({ enabled: [0, 0x80], patch: { 40: [0x02] } }, record);
    expect(skin.Skin_Temperature).toBeCloseTo(56.502 - 27.42 * Math.log(500000 / 27800), 12);
    expect(skinTemperature(2500)).toBe(skin.Skin_Temperature);
  });

  it.each([
    [0x04, 0x01, "PPG_A13"],
    [0x04, 0x02, "PPG_A12"],
    [0x08, 0x01, "PPG1_A13"],
    [0x10, 0x04, "PPG2_A1"],
    [0x04, 0x04, "Int_Exp_A1"],
  ])("derived bits %d rename channel bit %d to %s", (derived, sensor, name) => {
    expect(first({ enabled: [0, sensor], patch: { 40: [derived] } }, u16(1))).toHaveProperty(name);
  });
});

describe("ExG", () => {
  const registers = (first: number, second: number) => [0, 0, 0, first, second, 0, 0, 0, 0, 0];
  it.each([
    [0x00, 6],
    [0x10, 1],
    [0x20, 2],
    [0x30, 3],
    [0x40, 4],
    [0x50, 8],
    [0x60, 12],
  ])("setting %d is gain %d", (setting, gain) => {
    const patch = { 56: registers(setting, setting) };
    const wide = first({ enabled: [0x10], patch }, [0x80, ...u24r(4194303), ...u24r(-4194304 & 0xffffff)]);
    expect(wide.ExG1_CH1_24BIT).toBeCloseTo((4194303 * 2420) / gain / (2 ** 23 - 1), 9);
    expect(wide.ExG1_CH2_24BIT).toBeCloseTo((-4194304 * 2420) / gain / (2 ** 23 - 1), 9);
    expect(wide.ECG_EMG_Status1).toBe(0x80);
    const narrow = first({ enabled: [0, 0, 0x10], patch }, [0x80, ...u16r(1000), ...u16r(0x8000)]);
    expect(narrow.ExG1_CH1_16BIT).toBeCloseTo((1000 * 2420) / (2 * gain) / (2 ** 15 - 1), 9);
    expect(narrow.ExG1_CH2_16BIT).toBeCloseTo((-32768 * 2420) / (2 * gain) / (2 ** 15 - 1), 9);
  });

  it.each<[string, number[], number[], number[], string[]]>([
    [
      "ECG",
      [0x18],
      registers(0, 0),
      registers(0, 7),
      ["ECG_LL-RA_24BIT", "ECG_LA-RA_24BIT", "ExG2_CH1_24BIT", "ECG_Vx-RL_24BIT"],
    ],
    [
      "respiration",
      [0x18],
      registers(0, 0),
      [0, 0, 0, 0, 7, 0, 0, 0, 0xc0, 0],
      ["ECG_LL-RA_24BIT", "ECG_LA-RA_24BIT", "ECG_RESP_24BIT", "ECG_Vx-RL_24BIT"],
    ],
    ["EMG", [0x10], registers(9, 0), registers(0x81, 0x81), ["EMG_CH1_24BIT", "EMG_CH2_24BIT"]],
    [
      "EMG with both chips on",
      [0x18],
      registers(9, 0),
      registers(0x81, 0x81),
      ["ExG1_CH1_24BIT", "ExG1_CH2_24BIT", "ExG2_CH1_24BIT", "ExG2_CH2_24BIT"],
    ],
    [
      "test",
      [0x18],
      registers(5, 5),
      registers(5, 5),
      ["Test_CHIP1_CH1_24BIT", "Test_CHIP1_CH2_24BIT", "Test_CHIP2_CH1_24BIT", "Test_CHIP2_CH2_24BIT"],
    ],
    ["other", [0x10], registers(0, 0), registers(0, 0), ["ExG1_CH1_24BIT", "ExG1_CH2_24BIT"]],
  ])("registers of %s name the signals", (_, enabled, chip1, chip2, names) => {
    const chips = enabled[0] === 0x18 ? 2 : 1;
    const values = first({ enabled, patch: { 56: chip1, 66: chip2 } }, Array(7 * chips).fill(0));
    expect(Object.keys(values)).toEqual(expect.arrayContaining(names));
  });

  it("leaves an impossible gain uncalibrated and says so", () => {
    const { recording } = decode(
      file({ enabled: [0x10], patch: { 56: registers(0x70, 0) } }, [[0x80, ...u24r(5), ...u24r(6)]]),
    );
    expect(recording.columns.map(({ name }) => name)).toContain("Shimmer_ABCD_ExG1_CH1_24BIT_UNCAL");
    expect(recording.report.notes).toContainEqual(
      expect.objectContaining({ code: "gain_unknown", message: expect.stringContaining("byte 59") }),
    );
  });
});

describe("pressure, the vectors of SF 9.4", () => {
  const big = [408, -72, -14383, 32741, 32757, 23153, 6190, 4, -32768, -8711, 2868].flatMap(u16r);
  const little = [27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000].flatMap(u16);
  const bosch390 = [...Buffer.from("E76BF04AF9AB1C9B150601D249185F03FA3A0F07F5", "hex")];

  it("BMP180", () => {
    const { celsius, pascal } = bmp180(view(big), 0)(27898, 23843 * 256);
    expect(celsius).toBeCloseTo(15.047, 3);
    expect(pascal).toBeCloseTo(69960.66, 2);
  });

  it("BMP280", () => {
    const { celsius, pascal } = bmp280(view(little))(519888 / 16, 415148 * 16);
    expect(celsius).toBeCloseTo(25.0825, 4);
    expect(pascal).toBeCloseTo(100653.267, 2);
  });

  it.each([
    [0x7fba00, 0x640d00, 23.17017, 100911.824],
    [0x7fcf00, 0x641700, 23.26587, 100912.818],
  ])("BMP390 at %d, %d", (ut, up, celsius, pascal) => {
    const result = bmp390(view(bosch390))(ut, up);
    expect(result.celsius).toBeCloseTo(celsius, 5);
    expect(result.pascal).toBeCloseTo(pascal, 2);
  });

  it("BMP581 needs no coefficients, and its temperature is signed", () => {
    expect(bmp581()(25 * 65536, 101325 * 64)).toEqual({ celsius: 25, pascal: 101325 });
    expect(bmp581()(2 ** 24 - 65536, 0).celsius).toBe(-1);
  });

  it("BMP280 with P1 = 0 gives no pressure", () => {
    expect(bmp280(view([...little.slice(0, 6), 0, 0, ...little.slice(8)]))(32000, 6e6).pascal).toBeNaN();
  });

  it("reads temperature before pressure, and names the chip", () => {
    const old = first({ enabled: [0, 0, 0x04], patch: { 160: big } }, [...u16r(27898), ...u24r(23843 * 256)]);
    expect(old.Temperature_BMP180).toBeCloseTo(15.047, 3);
    expect(old.Pressure_BMP180).toBeCloseTo(69.96066, 5);
    const patch = { 160: little.slice(0, 22), 222: little.slice(22), 214: [48, 3, 0] };
    const young = first({ enabled: [0, 0, 0x04], patch }, [...u16r(32493), ...u24r(6642368)]);
    expect(young.Temperature_BMP280).toBeCloseTo(25.0825, 3);
    expect(young.Pressure_BMP280).toBeCloseTo(100.653, 3);
  });

  it.each([[0], [0xff]])("coefficients of all %d: left raw, and said", (blank) => {
    const patch = { 160: Array(22).fill(blank), 222: [blank, blank] };
    const { recording, columns } = decode(file({ enabled: [0, 0, 0x04], patch }, [[...u16r(27898), ...u24r(70000)]]));
    expect(columns.map(({ signal, unit, values }) => [signal, unit, values[0]]).slice(1)).toEqual([
      ["Pressure_BMP180", "no_units", 70000],
      ["Temperature_BMP180", "no_units", 27898],
    ]);
    expect(recording.report.notes.map(({ code }) => code)).toContain("calibration_missing");
  });
});
