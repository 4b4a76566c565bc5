import type { Command } from "commander";
import type { Config } from "../../config.ts";
import { UploaderError } from "../../core/errors.ts";
import { iamPolicy } from "../../core/iam-policy.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { type Face, openFace } from "../face.ts";
import { addConfigFlags, givenConfigFlags } from "../flags.ts";
import { fold, name } from "../format.ts";

const shown = [
  "source",
  "destination",
  "s3.region",
  "s3.profile",
  "s3.endpoint",
  "database.url",
  "database.schema",
  "concurrency",
];

export function defineDoctor(program: Command): void {
  const command = program
    .command("doctor")
    .summary("check everything a run needs, and say what to fix")
    .description(
      "Looks at database, clock, disk, limits, every source and destination, and the trigger's secrets. Writes nothing.",
    )
    .option("--iam-policy", "print the least an AWS policy must allow for this configuration, and look at nothing")
    .addHelpText(
      "before",
      `Examples:
  uploader doctor --config reef.json
  uploader doctor --destination s3://reef-recordings/C2 --json
  uploader doctor --config reef.json --iam-policy > policy.json
`,
    )
    .addHelpText("after", exitStatusHelp(0, 1, 2, 10, 130, 143));
  addConfigFlags(command, shown).action(run);
}

async function run(flags: { iamPolicy?: boolean }, command: Command): Promise<void> {
  const face = await openFace(command, givenConfigFlags(command));
  try {
    if (flags.iamPolicy) printPolicy(face);
    else await examine(face);
  } finally {
    face.close();
  }
}

async function examine(face: Face): Promise<void> {
  const { doctor } = await import("../../operations/doctor.ts");
  const { doctorProbes } = await import("../doctor-probes.ts");
  const findings = await doctor(await doctorProbes(face));
  const widest = Math.max(...findings.map((finding) => finding.name.length));
  for (const finding of findings) {
    if (face.json) face.out(JSON.stringify(finding));
    else if (!finding.ok || !face.quiet) {
      const width = process.stdout.isTTY ? process.stdout.columns : undefined;
      const head = (finding.ok ? "ok" : "FAULT").padEnd(7) + finding.name.padEnd(widest + 2);
      face.out(fold(head + name(finding.detail), width, head.length));
      if (finding.fix) face.out(fold(`${" ".repeat(head.length)}fix: ${name(finding.fix)}`, width, "fix: ".length));
    }
  }
  process.exitCode = findings.every((finding) => finding.ok) ? 0 : 10;
}

/** On stdout the policy and nothing else. */
function printPolicy(face: Face): void {
  const { config } = face.loaded;
  const policy = iamPolicy(questionOf(config));
  face.out(JSON.stringify(policy, null, face.json ? undefined : 2));
  if (face.json || face.quiet) return;
  const named = policy.Statement.map(({ Sid }) => Sid);
  const lines = [
    `Needed to upload: ${named.filter((sid) => lost[sid] === undefined).join(" and ")}. The others may be left out as a whole:`,
    ...named.flatMap((sid) => (lost[sid] === undefined ? [] : [`  without ${sid}: ${lost[sid]}`])),
  ];
  process.stderr.write(`${lines.join("\n")}\n`);
}

/** By the name of a statement that may be left out: what cannot be done then. */
const lost: Readonly<Record<string, string>> = {
  ResumeAndCleanUp: "uploads in parts begin afresh, and gc cannot abort what they left",
  CompareAndVerify: "what is there already cannot be compared, and verify proves nothing",
  SeeWhatIsThere: "what other programs put there is found file by file, and gc finds nothing",
  TagRecordings: "objects do not say who wore the sensor (tag patient)",
};

function questionOf({ destination, s3, patientTags }: Config): Parameters<typeof iamPolicy>[0] {
  if (destination?.kind !== "s3") {
    throw new UploaderError("usage", "an IAM policy is about a bucket, and the destination is none", {
      hint: "uploader doctor --iam-policy --destination s3://bucket/prefix",
    });
  }
  const { bucket, prefix } = destination;
  return { bucket, prefix, region: s3.region, kmsKeyId: s3.kmsKeyId, tags: patientTags };
}
