/** Walks through a run, dying at every boundary, until it has been done with. */
import { expect } from "vitest";
import { type Boundary, type Child, type Ended, killUntilEnd } from "../support/kill-driver.ts";
import type { Scene } from "./scene.ts";
import { expectSound } from "./soundness.ts";

/** Set to any number: at every boundary that is met, and not at those alone that must leave a state behind. */
export const exhaustive = process.env.UPLOADER_FAULT_ROUNDS !== undefined;

/** Starts children until one ends by itself, and tells how. */
export type Through = (start: () => Child) => Promise<Ended>;

export const after = (moments: readonly string[]): Boundary[] => moments.map((moment) => `after ${moment}`);

export const around = (moments: readonly string[]): Boundary[] =>
  moments.flatMap((moment) => [`before ${moment}`, `after ${moment}`]);

/**
 * Plays the chapter from its beginning until somebody died at each of the boundaries: what happens once only may have
 * been done already when a child dies of something else.
 */
export async function walk(
  scene: Scene,
  boundaries: readonly Boundary[],
  chapter: (through: Through) => Promise<void>,
): Promise<void> {
  const wanted = new Set(boundaries);
  const met = new Set<Boundary>();
  const state = {
    postgres: scene.postgres,
    store: scene.store,
    boundaries: met,
    isOfInterest: (boundary: Boundary) => exhaustive || wanted.has(boundary),
    afterKill: (boundary: Boundary) => expectSound(scene, `after a kill ${boundary}`),
  };
  for (let known = -1; known < met.size && (exhaustive || met.size < wanted.size); ) {
    known = met.size;
    await scene.reset();
    await chapter((start) => killUntilEnd(state, start));
  }
  expect([...wanted].filter((boundary) => !met.has(boundary))).toEqual([]);
}
