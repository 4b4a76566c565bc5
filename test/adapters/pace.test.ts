import { expect, it } from "vitest";
import { createPace } from "../../src/adapters/pace.ts";

/** Looks at `count` items on a disk that takes `lookMs` for each blocking look; says how each was looked at. */
async function waysOf(count: number, lookMs: number): Promise<string[]> {
  let clock = 0;
  const pace = createPace(() => clock);
  return pace.each(
    Array.from({ length: count }, (_, at) => at),
    () => {
      clock += lookMs;
      return "blocking";
    },
    async () => "waiting",
  );
}

it("keeps results in the order of their items", async () => {
  let clock = 0;
  const pace = createPace(() => clock);
  const items = Array.from({ length: 5000 }, (_, at) => at);
  const blocking = (item: number) => {
    clock += item % 100 === 0 ? 100 : 0;
    return item;
  };
  expect(await pace.each(items, blocking, async (item) => item)).toEqual(items);
});

it("blocks all along on a quick disk", async () => {
  expect(new Set(await waysOf(5000, 0.003))).toEqual(new Set(["blocking"]));
});

it("on a slow one holds the program up for a few looks in a thousand", async () => {
  const ways = await waysOf(3000, 5);
  expect(ways.filter((way) => way === "blocking").length).toBeLessThanOrEqual(3 * 16);
});

it("lets errors through from either way", async () => {
  const fail = () => {
    throw new Error("disk");
  };
  await expect(createPace(() => 0).each([1], fail, fail)).rejects.toThrow("disk");
});
