import { type Header, headerAt } from "./header.ts";
import type { Flag, Sensor } from "./sensors.ts";

/** Derived-channel bits of bytes 40-42 that rename an ADC channel (SF 2.3, 10). Only names change. */
const photoplethysmograms: readonly { mask: number; stem: string; sensors: readonly string[] }[] = [
  { mask: 0x04, stem: "PPG", sensors: ["intA12", "intA13"] },
  { mask: 0x08, stem: "PPG1", sensors: ["intA12", "intA13"] },
  { mask: 0x10, stem: "PPG2", sensors: ["intA1", "intA14"] },
];
const skinTemperatureMask = 0x02;

/**
 * Shimmer3R numbers its ADC inputs anew. Confirmed by an export: `PPG_A1` (int 1) and `LIS2DW12_ACC_X`.
 * HARDWARE-VERIFY: the other names follow the same pattern, no export has shown them.
 */
const shimmer3rNames: Readonly<Record<string, readonly string[]>> = {
  extA7: ["Ext_Exp_A0"],
  extA6: ["Ext_Exp_A1"],
  extA15: ["Ext_Exp_A2"],
  intA12: ["Int_Exp_A0"],
  intA13: ["Int_Exp_A1"],
  intA14: ["Int_Exp_A2"],
  intA1: ["Int_Exp_A3"],
  accelWr: ["LIS2DW12_ACC_X", "LIS2DW12_ACC_Y", "LIS2DW12_ACC_Z"],
};

/** What names begin with: the user's name for the device, else `Shimmer_` and the last four digits of the MAC. */
export function deviceLabel(header: Header, deviceName: string | undefined): string {
  return deviceName ?? `Shimmer_${header.mac.replaceAll(":", "").slice(-4)}`;
}

/** The signal names of one sensor under this header, in the order of `sensor.signals` (SF 10). */
export function signalNames(header: Header, sensor: Sensor): readonly string[] {
  const plain = (header.generation === "shimmer3r" && shimmer3rNames[sensor.key]) || sensor.signals;
  const { conversion } = sensor;
  if (conversion.kind === "exg") return exgNames(header, conversion.chip, conversion.bits, plain);
  if (conversion.kind === "pressure") return pressureNames(header, plain);
  const ppg = photoplethysmograms.find(
    ({ mask, sensors }) => (header.derived[0]! & mask) !== 0 && sensors.includes(sensor.key),
  );
  return ppg === undefined ? plain : plain.map((name) => name.replace(/^Int_Exp/, ppg.stem));
}

export function isSkinTemperature(header: Header): boolean {
  return (header.derived[0]! & skinTemperatureMask) !== 0;
}

function pressureNames({ board, pressureChip }: Header, plain: readonly string[]): string[] {
  return plain.map((name) => (board === "shimmer3r" ? `${pressureChip}_${name}` : `${name}_${pressureChip}`));
}

export type ExgMode = "ECG" | "EMG" | "Test" | "Respiration" | "ExG";

/** What the electrodes measure, from the chips' registers (SF 9.3). Mux: 0 electrode, 1 shorted, 5 test, 7 RLD drive, 9 routed. */
export function exgMode(header: Header): ExgMode {
  const isOn = (chip: Flag[]) => chip.some(([byte, mask]) => (header.enabled[byte - 3]! & mask) !== 0);
  const chip1 = isOn([
    [3, 0x10],
    [5, 0x10],
  ]);
  const chip2 = isOn([
    [3, 0x08],
    [5, 0x08],
  ]);
  const mux = (chip: 0 | 1, channel: 1 | 2) => header.bytes[headerAt.exgRegisters[chip] + 2 + channel]! & 0x0f;
  const all = [mux(0, 1), mux(0, 2), mux(1, 1), mux(1, 2)] as const;
  const inUse = [...(chip1 ? all.slice(0, 2) : []), ...(chip2 ? all.slice(2) : [])];
  if (inUse.length > 0 && inUse.every((code) => code === 5)) return "Test";
  const respiration = header.bytes[headerAt.exgRegisters[1] + 8]!;
  if (chip1 && chip2 && (respiration & 0xc0) === 0xc0) return "Respiration";
  if (chip1 && chip2 && all[0] === 0 && all[1] === 0 && all[2] === 0 && all[3] === 7) return "ECG";
  if (chip1 && !chip2 && all[0] === 9 && all[1] === 0 && all[2] === 1 && all[3] === 1) return "EMG";
  return "ExG";
}

const exgChannels: Readonly<
  Record<ExgMode, readonly [chip1: readonly string[] | null, chip2: readonly string[] | null]>
> = {
  ECG: [
    ["ECG_LL-RA", "ECG_LA-RA"],
    ["ExG2_CH1", "ECG_Vx-RL"],
  ],
  Respiration: [
    ["ECG_LL-RA", "ECG_LA-RA"],
    ["ECG_RESP", "ECG_Vx-RL"],
  ],
  EMG: [["EMG_CH1", "EMG_CH2"], null],
  Test: [
    ["Test_CHIP1_CH1", "Test_CHIP1_CH2"],
    ["Test_CHIP2_CH1", "Test_CHIP2_CH2"],
  ],
  ExG: [null, null],
};

function exgNames(header: Header, chip: 0 | 1, bits: number, plain: readonly string[]): readonly string[] {
  const channels = exgChannels[exgMode(header)][chip];
  return channels === null ? plain : [plain[0]!, ...channels.map((name) => `${name}_${bits}BIT`)];
}
