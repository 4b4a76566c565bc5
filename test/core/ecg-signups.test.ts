import { expect, it } from "vitest";
import { readUsers, signupBytes, signupKey } from "../../src/core/ecg-signups.ts";
import { openZone } from "../../src/core/ecg-stamp.ts";
import { fakeUser } from "../support/old-ecg-program.ts";

const seenMs = Date.UTC(2025, 10, 3, 20, 0, 7, 250);
const one = (user: object, username = "5550000001") => readUsers(JSON.stringify({ [username]: user }))!.signups[0]!;
const sent = (user: object) => JSON.parse(Buffer.from(signupBytes(one(user), seenMs)).toString());

it("sends the fields of the older program, and no other: never a password", () => {
  expect(sent({ ...fakeUser(1, "secret"), token: "secret" })).toEqual({
    username: "5550000001",
    full_name: "Test Person 1",
    phone: "5550000001",
    serial_id: "SN-1",
    email: "person1@example.org",
    age: 31,
    gender: "male",
    registration_date: "2025-10-20",
    last_sync: "2025-11-03T20:00:07.250Z",
    uploaded_at: "2025-11-03T20:00:07.250Z",
  });
  expect(JSON.stringify(sent(fakeUser(1, "secret")))).not.toContain("secret");
});

it("an entry of old, with nothing but a password, gives its name alone", () => {
  const bytes = sent({ password: "secret" });
  expect(bytes).toMatchObject({
    username: "5550000001",
    serial_id: "5550000001",
    full_name: "",
    registration_date: "",
  });
  expect(JSON.stringify(bytes)).not.toContain("secret");
});

it("takes registration_date where there is one, and nothing but texts and numbers", () => {
  const user = {
    signup_date: "2025-01-01",
    registration_date: "2024-12-31",
    full_name: { a: 1 },
    age: [7],
    phone: null,
  };
  expect(sent(user)).toMatchObject({ registration_date: "2024-12-31", full_name: "", age: "", phone: "" });
});

it("a state is another one when a sent field changes, not when a password does", () => {
  const before = one(fakeUser(1, "a")).fingerprint;
  expect(one(fakeUser(1, "b")).fingerprint).toBe(before);
  expect(one({ ...fakeUser(1, "a"), address: "moved" }).fingerprint).toBe(before);
  for (const field of ["full_name", "phone", "serial_id", "email", "age", "gender", "signup_date"]) {
    expect(one({ ...fakeUser(1, "a"), [field]: "new" }).fingerprint, field).not.toBe(before);
  }
});

it("a key holds name and local time of the first sight, and the name cannot leave its folder", () => {
  const key = (name: string) => signupKey(name, seenMs, openZone("Asia/Kolkata"));
  expect(key("anna")).toBe("ecg-reports/2025/11/04/user_signup_anna_20251104_013007.json");
  expect(key("../../x")).toBe("ecg-reports/2025/11/04/user_signup_..%2F..%2Fx_20251104_013007.json");
  expect(key("a/b")).not.toBe(key("a%2Fb"));
});

it("says nothing of a file that is being written, and leaves out what is no user", () => {
  expect(readUsers('{"a": {"full_')).toBeNull();
  expect(readUsers("[]")).toBeNull();
  expect(readUsers("")).toBeNull();
  const read = readUsers('\ufeff{"a": {}, "b": "secret", "": {}, "c": null}')!;
  expect(read.signups.map(({ username }) => username)).toEqual(["a"]);
  expect(read.problems).toHaveLength(3);
  expect(read.problems.join()).not.toContain("secret");
});
