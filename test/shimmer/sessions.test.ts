import { expect, it } from "vitest";
import { groupSessions } from "../../src/shimmer/sessions.ts";

const phone = "a9ae0f99__20250925_23233";

it("puts the parts of a card's session folder in numerical order", () => {
  const folder = "data/Walk_1752967227/Shimmer_DDD6-000";
  expect(
    groupSessions([`${folder}/1000`, `${folder}/002`, `${folder}/999`, "data/Walk_1752967227/Shimmer_DDD6-001/000"]),
  ).toEqual([
    { key: `${folder}/`, stem: "Shimmer_DDD6-000", paths: [`${folder}/002`, `${folder}/999`, `${folder}/1000`] },
    {
      key: "data/Walk_1752967227/Shimmer_DDD6-001/",
      stem: "Shimmer_DDD6-001",
      paths: ["data/Walk_1752967227/Shimmer_DDD6-001/000"],
    },
  ]);
});

it("ties the phone app's files together whatever their time of transfer", () => {
  const one = `${phone}8__TEST_1752967227__Shimmer_DDD6-000__001.txt`;
  const two = `${phone}9__TEST_1752967227__Shimmer_DDD6-000__000.txt`;
  const other = `${phone}9__TEST_1752967227__Shimmer_DCFF-000__000.txt`;
  expect(groupSessions([one, other, two]).map(({ stem, paths }) => [stem, paths])).toEqual([
    ["a9ae0f99__TEST_1752967227__Shimmer_DDD6-000", [two, one]],
    ["a9ae0f99__TEST_1752967227__Shimmer_DCFF-000", [other]],
  ]);
});

it("keeps files marked wrong apart", () => {
  const good = `${phone}8__TEST_1__Shimmer_DDD6-000__000.txt`;
  expect(groupSessions([good, `${phone}8__TEST_1__Shimmer_DDD6-000__000__wrong.txt`])).toHaveLength(2);
});

it.each(["recording.bin", "user_20250630_101112_000.txt", "loose/000", `${phone}8____000.txt`])(
  "%s stands alone",
  (path) => {
    expect(groupSessions([path, "other/recording.bin"])[0]).toMatchObject({ key: path, paths: [path] });
  },
);
