/** `uploader init`: questions on a terminal, flags from a pipe; and what follows from what it wrote. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openWorkplace, textOf, type Workplace } from "./workplace.ts";

let place: Workplace;
beforeAll(async () => {
  place = await openWorkplace();
  place.tree("card", { "a.wav": 10, "b.wav": 20, "notes.doc": 5 });
});
afterAll(() => place.close());

const written = (name: string): Record<string, unknown> => JSON.parse(textOf(place.path(name)));

describe("from a pipe", () => {
  it("writes what the flags say, with whole paths, and the next commands take it", async () => {
    const made = await place.run([
      "init",
      "--source",
      "card",
      "--destination",
      "s3://reef/C1/",
      "-j",
      "8",
      "--include",
      "**/*.wav",
    ]);
    expect(made).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^wrote reef\.json\n/) });
    expect(made.stderr).toMatch(
      /ok: .*card is readable: 2 files, 30 B selected, 1 file left out\n {2}ok: bucket reef at/,
    );
    expect(written("reef.json")).toEqual({
      $schema: expect.stringMatching(/^file:.*config\.schema\.json$/),
      project: "reef",
      source: place.path("card"),
      destination: "s3://reef/C1",
      include: ["**/*.wav"],
      concurrency: 8,
      s3: { endpoint: place.s3.endpoint, region: place.s3.region },
    });
    const doctor = await place.run(["doctor", "--config", "reef.json"]);
    expect(doctor).toMatchObject({ exitCode: 0 });
    const sent = await place.run(["upload", "--config", "reef.json", "--json"]);
    expect(sent.events()).toContainEqual(
      expect.objectContaining({ message: "1 other file left out (uploader explain PATH says why)" }),
    );
    expect(sent.events().at(-1)).toMatchObject({ type: "summary", filesUploaded: 2, filesSafe: 0, exitCode: 0 });
    const again = await place.run(["upload", "--config", "reef.json", "--json"]);
    expect(again.events().at(-1)).toMatchObject({ filesUploaded: 0, filesSafe: 2, filesSkipped: 2 });
  });

  it("what variables say of the store goes into the file: cron does not have them; a flag comes first", async () => {
    const lent = { AWS_ENDPOINT_URL_S3: undefined, AWS_ENDPOINT_URL: place.s3.endpoint, AWS_PROFILE: "field" };
    const args = ["init", "--source", "card", "--no-check"];
    const made = await place.run([...args, "lent.json", "--destination", "s3://reef/C1", "--region", "eu-north-1"], {
      env: lent,
    });
    expect(made).toMatchObject({ exitCode: 0 });
    expect(made.stderr).toContain(`ok: s3.endpoint is ${place.s3.endpoint}, as AWS_ENDPOINT_URL says\n`);
    const { s3 } = written("lent.json");
    expect(s3).toEqual({ endpoint: place.s3.endpoint, profile: "field", region: "eu-north-1" });
    await place.run([...args, "folder.json", "--destination", "./archive"], { env: lent });
    expect(written("folder.json")).not.toHaveProperty("s3");
  });

  it("replaces nothing without --force, and looks before it asks anything else", async () => {
    writeFileSync(place.path("mine.json"), "precious");
    const args = ["init", "mine.json", "--source", "card", "--destination", "./archive"];
    const refused = await place.run(args);
    expect(refused).toMatchObject({ exitCode: 2, stdout: "" });
    expect(refused.stderr).toBe(
      "error: mine.json is there already\n  name another file: uploader init FILE, or replace it with --force\n",
    );
    expect(textOf(place.path("mine.json"))).toBe("precious");
    expect(await place.run([...args, "--force"])).toMatchObject({ exitCode: 0 });
    expect(written("mine.json")).toMatchObject({ project: "archive", destination: place.path("archive") });
  });

  it.each([
    [["--destination", "s3://reef/C1"], 2, /no source is named/],
    [["--source", "card"], 2, /no destination is named/],
    [["--source", "nowhere", "--destination", "s3://reef/C1"], 2, /the source ".*nowhere" does not exist\n/],
    [["--source", "card", "--destination", "card/inside"], 2, /inside the source/],
    [["--source", "card", "--destination", "s3://absent/C1"], 14, /the bucket absent does not exist/],
    [
      ["--source", "card", "--destination", "s3://reef", "--database-url", "postgres://u:pw@h/d"],
      2,
      /holds a password/,
    ],
    [
      ["--source", "card", "--destination", "s3://reef", "--database-url", "postgres://127.0.0.1:9/d"],
      13,
      /no answer from the database/,
    ],
  ])("what does not hold is told, and nothing written: %j", async (args, exitCode, message) => {
    const ended = await place.run(["init", "bad.json", ...args], { env: { UPLOADER_DATABASE_URL: undefined } });
    expect(ended.stderr).toMatch(message);
    expect(ended).toMatchObject({ exitCode, stdout: "" });
    expect(ended.stderr).not.toContain("pw@");
    expect(existsSync(place.path("bad.json"))).toBe(false);
  });

  it("--no-check writes without looking", async () => {
    const args = [
      "init",
      "later.json",
      "--source",
      "absent",
      "--destination",
      "s3://absent/C1",
      "--no-check",
      "--json",
    ];
    const made = await place.run(args);
    expect(made.events()).toMatchObject([{ type: "written", path: place.path("later.json") }]);
    expect(written("later.json")).toMatchObject({ source: place.path("absent") });
  });
});

describe("on a terminal", () => {
  it("asks again what cannot be, and writes what was answered", async () => {
    const running = place.start(["init"], { columns: 100, env: { UPLOADER_DATABASE_URL: undefined } });
    const answers: [RegExp, string][] = [
      [/Folder to send: /, "nowhere"],
      [/does not exist[\s\S]*Folder to send: /, "card"],
      [/2 files, 30 B selected[\s\S]*Where to.*: /, "s3://UPPER/x"],
      [/name "UPPER" is not valid[\s\S]*Where to.*: /, "s3://absent/C9"],
      [/Endpoint.*\[http.*\]: /, ""],
      [/Profile.*\[none\]: /, ""],
      [/Region.*\[.+\]: /, ""],
      [/the bucket absent does not exist[\s\S]*Keep it.*: /, "n"],
      [/Where to.*\[s3:\/\/absent\/C9\]: /, "s3://reef/C9"],
      [/Endpoint.*\[http.*: /, ""],
      [/Profile.*: /, ""],
      [/Region.*: /, ""],
      [/ok: bucket reef[\s\S]*Project.*\[reef\]: /, "field"],
      [/PostgreSQL.*: /, ""],
    ];
    for (let n = 0; n < answers.length; n++) {
      // Everything so far, in this order.
      await running.says(
        new RegExp(
          answers
            .slice(0, n + 1)
            .map(([{ source }]) => source)
            .join("[\\s\\S]*"),
        ),
      );
      running.child.stdin!.write(`${answers[n]![1]}\r`);
    }
    expect(await running.ended).toMatchObject({ exitCode: 0 });
    expect(written("field.json")).toMatchObject({
      project: "field",
      source: join(place.folder, "card"),
      destination: "s3://reef/C9",
      s3: { endpoint: place.s3.endpoint, region: place.s3.region },
    });
    expect(running.stdout()).toContain("uploader doctor --config field.json");
  });

  it("Ctrl-D ends without a trace", async () => {
    const running = place.start(["init", "none.json"], { columns: 80 });
    await running.says(/Folder to send: /);
    running.child.stdin!.write("\x04");
    expect(await running.ended).toMatchObject({ exitCode: 2, stdout: expect.stringContaining("nothing was written") });
    expect(existsSync(place.path("none.json"))).toBe(false);
  });
});
