/** Which parts a board carries, from the daughter-card bytes 214-216 (SF 4.2, 9.4). */
export interface Card {
  id: number;
  revision: number;
  special: number;
}

export type Board = "old" | "new" | "shimmer3r";
export type PressureChip = "BMP180" | "BMP280" | "BMP390" | "BMP581";

/** Oldest revision of each card with the second inertial set (KXTC9, LSM303AHTR, BMP280). */
const newInertialSet: Readonly<Record<number, number>> = { 31: 6, 36: 3, 38: 3, 47: 3, 48: 3, 49: 3 };
/** Special revision that marks the second set on any card. */
const newInertialSpecial = 171;

/** Oldest `revision.special` of each Shimmer3R card with a BMP581. */
const bmp581Cards: Readonly<Record<number, readonly [number, number]>> = {
  31: [11, 2],
  38: [4, 2],
  47: [8, 2],
  48: [8, 2],
  49: [4, 2],
};

/** `null` (no card stored, or all `FF`) means the first inertial set. */
export function boardOf(card: Card | null): "old" | "new" {
  if (card === null) return "old";
  if (card.special === newInertialSpecial) return "new";
  const oldest = newInertialSet[card.id];
  return oldest !== undefined && card.revision >= oldest ? "new" : "old";
}

export function pressureChipOf(board: Board, card: Card | null, hasBmp581Firmware: boolean): PressureChip {
  if (board === "old") return "BMP180";
  if (board === "new") return "BMP280";
  return card !== null && hasBmp581Firmware && carriesBmp581(card) ? "BMP581" : "BMP390";
}

function carriesBmp581({ id, revision, special }: Card): boolean {
  // Card 48 alone got the chip on a late 7.x too, and lost it again on 8.0 and 8.1.
  if (id === 48 && revision === 7 && special >= 2) return true;
  const oldest = bmp581Cards[id];
  if (oldest === undefined) return false;
  return revision > oldest[0] || (revision === oldest[0] && special >= oldest[1]);
}
