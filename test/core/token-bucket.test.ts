import { expect, it } from "vitest";
import { createTokenBucket } from "../../src/core/token-bucket.ts";

function bucketAt(rate: number | null) {
  const clock = { nowMs: 1_000 };
  return { clock, bucket: createTokenBucket(rate, () => clock.nowMs) };
}

it("lets the first through and makes the next pay for it", () => {
  const { clock, bucket } = bucketAt(1_000);
  expect(bucket.delayMs()).toBe(0);
  bucket.spend(500);
  expect(bucket.delayMs()).toBe(500);
  clock.nowMs += 499;
  expect(bucket.delayMs()).toBeCloseTo(1);
  clock.nowMs += 1;
  expect(bucket.delayMs()).toBe(0);
});

it("sends at its rate over a long time, whatever the pieces and however late the caller", () => {
  const { clock, bucket } = bucketAt(10_000);
  let sentBytes = 0;
  const startedMs = clock.nowMs;
  for (let n = 0; n < 1_000; n++) {
    const size = 1 + ((n * 7919) % 400);
    clock.nowMs += Math.ceil(bucket.delayMs()) + (n % 3);
    expect(bucket.delayMs()).toBe(0);
    bucket.spend(size);
    sentBytes += size;
  }
  const rate = (sentBytes * 1_000) / (clock.nowMs - startedMs);
  expect(rate).toBeGreaterThan(9_500);
  expect(rate).toBeLessThan(10_100);
});

it("saves up no more than a moment's worth", () => {
  const { clock, bucket } = bucketAt(1_000);
  clock.nowMs += 3_600_000;
  bucket.spend(50);
  expect(bucket.delayMs()).toBe(0);
  bucket.spend(1);
  expect(bucket.delayMs()).toBeCloseTo(1);
});

it("pays off at the new rate when that changes, and at once when there is none any more", () => {
  const { clock, bucket } = bucketAt(1_000);
  bucket.spend(10_000);
  bucket.setRate(10_000);
  expect(bucket.delayMs()).toBeCloseTo(1_000);
  clock.nowMs += 500;
  bucket.setRate(1_000);
  expect(bucket.delayMs()).toBeCloseTo(5_000);
  bucket.setRate(null);
  expect(bucket.delayMs()).toBe(0);
  bucket.spend(1e12);
  expect(bucket.delayMs()).toBe(0);
  bucket.setRate(1_000);
  expect(bucket.delayMs()).toBe(0);
});
