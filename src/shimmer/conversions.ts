import type { Note } from "./faults.ts";
import { type Header, headerAt } from "./header.ts";
import { calibrateInPlace, calibrationOf } from "./inertial.ts";
import { isSkinTemperature, signalNames } from "./names.ts";
import { pressureConverter } from "./pressure.ts";
import { type Conversion, type Sensor, unitless } from "./sensors.ts";

/** One column of the result, before it gets the device's prefix. */
export interface Signal {
  name: string;
  unit: string;
  isCalibrated: boolean;
}

/** Turns raw values into units in place, rows `from` to `to`; columns in the order of `signals`. */
export type Convert = (columns: readonly Float64Array[], from: number, to: number) => void;

export interface Converter {
  /** The first ones hold the sensor's raw values when `convert` is called; any further ones it fills. */
  signals: readonly Signal[];
  convert: Convert | null;
  notes: readonly Note[];
}

type Converters = {
  [K in Conversion["kind"]]: (
    header: Header,
    sensor: Sensor,
    conversion: Extract<Conversion, { kind: K }>,
  ) => Converter;
};

/** One function per kind of conversion (SF 8, 9). */
const converters: Converters = {
  none: (header, sensor) => ({ signals: calibrated(header, sensor), convert: null, notes: [] }),

  linear: (header, sensor, { factor, zero = 0 }) => ({
    signals: calibrated(header, sensor),
    convert: (columns, from, to) => {
      for (const column of columns) scaleInPlace(column, factor, zero, from, to);
    },
    notes: [],
  }),

  inertial(header, sensor, { part }) {
    const { calibration, notes } = calibrationOf(header, part);
    if (calibration === null) return { ...rawConverter(header, sensor), notes };
    return {
      signals: calibrated(header, sensor),
      convert: ([x, y, z], from, to) => calibrateInPlace(calibration, x!, y!, z!, from, to),
      notes,
    };
  },

  bridgeLow(header, sensor) {
    if (!isSkinTemperature(header)) {
      return converters.linear(header, sensor, { kind: "linear", factor: 3000 / 183.7 / 4095, zero: 1950 });
    }
    return {
      signals: [{ name: "Skin_Temperature", unit: "Degrees Celsius", isCalibrated: true }],
      convert: ([column], from, to) => {
        for (let row = from; row < to; row++) column![row] = skinTemperature(column![row]!);
      },
      notes: [],
    };
  },

  gsr(header) {
    const setting = header.setup.gsrRange;
    const message = `GSR range code ${setting} (byte 11) does not exist; the range stored with each sample is used`;
    return {
      signals: [
        { name: "GSR_Skin_Resistance", unit: "kOhms", isCalibrated: true },
        { name: "GSR_Skin_Conductance", unit: "uS", isCalibrated: true },
        { name: "GSR_Range", unit: unitless, isCalibrated: true },
        { name: "GSR_Open", unit: unitless, isCalibrated: true },
      ],
      convert: ([resistance, conductance, range, open], from, to) => {
        for (let row = from; row < to; row++) {
          const word = resistance![row]!;
          const sample = gsrSample(word & 0x0fff, word >> 14, setting);
          resistance![row] = sample.kiloOhms;
          conductance![row] = 1000 / sample.kiloOhms;
          range![row] = sample.range;
          open![row] = sample.isOpen ? 1 : 0;
        }
      },
      notes: setting > gsrAuto ? [{ code: "range_unknown", message }] : [],
    };
  },

  exg(header, sensor, { chip, bits }) {
    const factors = [3, 4].map((register) => {
      const setting = header.bytes[headerAt.exgRegisters[chip] + register]!;
      return exgFactor(exgGains[(setting >> 4) & 7], bits);
    });
    const unknown = factors.indexOf(null);
    if (unknown >= 0) {
      const at = headerAt.exgRegisters[chip] + 3 + unknown;
      const message = `ExG chip ${chip + 1}, channel ${unknown + 1}: gain code 7 (byte ${at}) does not exist: left uncalibrated`;
      return { ...rawConverter(header, sensor), notes: [{ code: "gain_unknown", message }] };
    }
    return {
      signals: calibrated(header, sensor),
      convert: ([, first, second], from, to) => {
        scaleInPlace(first!, factors[0]!, 0, from, to);
        scaleInPlace(second!, factors[1]!, 0, from, to);
      },
      notes: [],
    };
  },

  pressure(header, sensor) {
    const convert = pressureConverter(header);
    if (convert === null) {
      const message = `${header.pressureChip}: the header holds no coefficients (byte ${headerAt.pressure}): pressure and temperature left uncalibrated`;
      return { ...rawConverter(header, sensor), notes: [{ code: "calibration_missing", message }] };
    }
    return {
      signals: calibrated(header, sensor),
      convert: ([temperature, pressure], from, to) => convert(temperature!, pressure!, from, to),
      notes: [],
    };
  },
};

/** The converter of one sensor under this header. */
export function converterOf(header: Header, sensor: Sensor): Converter {
  // The table is typed row by row; the compiler cannot see that kind and row belong together.
  const make = converters[sensor.conversion.kind] as (h: Header, s: Sensor, c: Conversion) => Converter;
  return make(header, sensor, sensor.conversion);
}

/** The same sensor left as stored. */
export function rawConverter(header: Header, sensor: Sensor): Converter {
  const signals = signalNames(header, sensor).map((name) => ({ name, unit: unitless, isCalibrated: false }));
  return { signals, convert: null, notes: [] };
}

function calibrated(header: Header, sensor: Sensor): Signal[] {
  return signalNames(header, sensor).map((name, index) => ({
    name,
    unit: sensor.units?.[index] ?? sensor.unit,
    isCalibrated: true,
  }));
}

function scaleInPlace(column: Float64Array, factor: number, zero: number, from: number, to: number): void {
  for (let row = from; row < to; row++) column[row] = (column[row]! - zero) * factor;
}

/** °C from the raw value of the bridge amplifier's low channel (SF 9.1). NaN where the thermistor cannot be. */
export function skinTemperature(raw: number): number {
  return 56.502 - 27.42 * Math.log((200 * raw) / (30300 - raw));
}

const gsrAuto = 4;
/** kΩ of the feedback resistor, by range. */
const gsrResistors = [40.2, 287, 1000, 3300] as const;
/** kΩ that each fixed range can measure. */
const gsrLimits = [
  [8, 63],
  [63, 220],
  [220, 680],
  [680, 4700],
] as const;
/** First ADC count above the 0.5 V reference (682.5): below it no current flows. */
const gsrReference = 683;

/**
 * One GSR sample (SF 9.2): `adc` 12 bits, `stored` the range in the sample's top bits, `setting` the header's.
 * Open electrodes read as best contact (8 kΩ) with the vendor; the value is kept so, `isOpen` says it.
 */
export function gsrSample(
  adc: number,
  stored: number,
  setting: number,
): { kiloOhms: number; range: number; isOpen: boolean } {
  const range = (setting < gsrAuto ? setting : stored) as 0 | 1 | 2 | 3;
  const volts = ((range === 3 ? Math.max(adc, gsrReference) : adc) * 3) / 4095;
  const measured = gsrResistors[range] / (volts / 0.5 - 1);
  const [least, most] = setting < gsrAuto ? gsrLimits[range] : [8, Number.POSITIVE_INFINITY];
  return { kiloOhms: Math.min(Math.max(measured, least), most), range, isOpen: adc < gsrReference };
}

/** Gain by code in bits 4-6 of CHnSET (SF 9.3). */
const exgGains: readonly (number | undefined)[] = [6, 1, 2, 3, 4, 8, 12];

/** mV per count. The firmware stores 16-bit samples shifted right by 7, not 8, hence the 2. */
function exgFactor(gain: number | undefined, bits: 16 | 24): number | null {
  if (gain === undefined) return null;
  return bits === 24 ? 2420 / gain / (2 ** 23 - 1) : 2420 / (2 * gain) / (2 ** 15 - 1);
}
