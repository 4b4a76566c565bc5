/** What a configuration may say: every key with its default, its bounds and one sentence. */
import * as z from "zod";
import { checksumAlgorithms } from "../core/ports.ts";
import { durationPattern, parseDuration, parseSize, sizePattern } from "./sizes.ts";

const unitMs = { ms: 1, seconds: 1_000, minutes: 60_000 } as const;

export function configSchema() {
  // `title` says what is expected: in messages, and in editors that read the published schema.
  const text = (title = "a text") => z.string().min(1).meta({ title });
  const matching = (title: string, pattern: RegExp) => z.string().regex(pattern).meta({ title });
  const whole = (min: number, max: number) =>
    z
      .int()
      .min(min)
      .max(max)
      .meta({ title: `a whole number from ${min} to ${max}` });
  const flag = () => z.boolean().meta({ title: "true or false" });
  const oneOf = <const Choice extends string>(choices: readonly Choice[]) => {
    const quoted = choices.map((choice) => `"${choice}"`);
    return z.enum(choices).meta({ title: `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}` });
  };
  const globs = () => z.array(z.string().min(1)).meta({ title: 'a list of patterns like ["**/*.wav"]' });
  const size = (minBytes: number, title: string) =>
    z
      .union([z.int().min(minBytes), z.string().regex(sizePattern)])
      .transform((given) => (typeof given === "string" ? parseSize(given) : given))
      .pipe(z.int().min(minBytes))
      .meta({ title });
  /** A number in the unit of the key's name, or a text with its own. */
  const duration = (unit: keyof typeof unitMs, min: number, max: number) =>
    z
      .union([z.number().min(min).max(max), z.string().regex(durationPattern)])
      .transform((given) => (typeof given === "string" ? (parseDuration(given) ?? Number.NaN) / unitMs[unit] : given))
      .pipe(z.number().min(min).max(max))
      .meta({ title: `${unit} from ${min} to ${max}, as a number or like "30s"` });

  const perSource = {
    project: text().nullable().default(null).describe("Groups sessions; the bucket's or folder's name when absent"),
    source: text("a folder").nullable().default(null).describe("Folder to send; nothing in it is ever changed"),
    destination: text("s3://bucket/prefix or a folder")
      .nullable()
      .default(null)
      .describe(
        "s3://bucket/prefix, or a folder (file:///mnt/nas/archive, ./archive) that stores the same keys as files",
      ),
    include: globs()
      .default([])
      .describe(
        "Patterns of files to take; none: recordings by kind (sound, picture, video, Shimmer, reports, signals)",
      ),
    exclude: globs().default([]).describe("Patterns of files to leave out, beside those that are never sent"),
    layout: oneOf(["mirror", "ecg-reports"])
      .default("mirror")
      .describe("How keys are made: as the folders are, or ecg-reports/YYYY/MM/DD"),
    dateFrom: oneOf(["recording", "upload"]).default("recording").describe("Which date stands in ecg-reports keys"),
    usersFile: text("a file")
      .nullable()
      .default(null)
      .describe("Users whose sign-ups the ecg-reports layout sends; users.json in the source when absent"),
    expectEverySeconds: duration("seconds", 1, 31_536_000)
      .nullable()
      .default(null)
      .describe("A new file is expected this often; longer silence is reported"),
    attempts: whole(1, 100).default(5).describe("Attempts per file before it has failed"),
    existing: oneOf(["checksum", "size"])
      .default("checksum")
      .describe("A file in the store that we know nothing of: compare checksums, or trust an equal size"),
    onConflict: oneOf(["fail", "skip", "replace"])
      .default("fail")
      .describe("The store holds other bytes that we did not write"),
    onChange: oneOf(["fail", "replace"])
      .nullable()
      .default(null)
      .describe("We wrote it, and the file has changed since; absent: fail for upload, replace for sync"),
    checksum: oneOf(["auto", ...checksumAlgorithms])
      .default("auto")
      .describe("Checksum sent with every file; auto: CRC-32 unless the endpoint refuses it"),
    s3: z
      .strictObject({
        region: matching('a region like "eu-west-1"', /^[A-Za-z0-9][A-Za-z0-9_-]*$/)
          .nullable()
          .default(null)
          .describe("Region of the bucket; else the profile's, else what the store says"),
        profile: text("the name of an AWS profile")
          .nullable()
          .default(null)
          .describe("AWS profile that gives the credentials"),
        endpoint: matching('a URL like "https://s3.example.org:9000"', /^https?:\/\/[^/\s]+/)
          .nullable()
          .default(null)
          .describe("URL of an S3-compatible store; absent: AWS"),
        forcePathStyle: flag()
          .nullable()
          .default(null)
          .describe("Bucket in the path instead of the host name; absent: for custom endpoints only"),
        unsignedPayload: flag().default(false).describe("Do not sign the content; the checksum still guards it"),
        storageClass: matching('a storage class like "STANDARD_IA"', /^[A-Z0-9_-]+$/)
          .nullable()
          .default(null)
          .describe("Storage class of new objects"),
        serverSideEncryption: oneOf(["AES256", "aws:kms", "aws:kms:dsse"])
          .nullable()
          .default(null)
          .describe("Encryption asked of the store; absent: the bucket's own"),
        kmsKeyId: text("a KMS key").nullable().default(null).describe("KMS key for serverSideEncryption aws:kms"),
        expectedBucketOwner: matching("an account number of 12 digits", /^\d{12}$/)
          .nullable()
          .default(null)
          .describe("AWS account that must own the bucket"),
        connectTimeoutSeconds: duration("seconds", 0.1, 600)
          .default(10)
          .describe("How long a connection to the store may take to be made"),
        idleTimeoutSeconds: duration("seconds", 0.1, 3_600)
          .default(30)
          .describe("A request of which no byte has moved for so long is made again"),
      })
      .prefault({}),
    decode: z
      .strictObject({
        enabled: flag().default(false).describe("Decode Shimmer recordings and send the result beside the raw file"),
        formats: z
          .array(z.enum(["json", "csv", "mat", "parquet"]))
          .min(1)
          .meta({ title: 'a list of "json", "csv", "mat" or "parquet"' })
          .default(["json"])
          .describe("Formats of decoded recordings"),
        profile: oneOf(["vendor", "consensys", "cloud-sync"])
          .default("vendor")
          .describe("Whose values and time treatment"),
        timeSource: oneOf(["auto", "header", "phone", "device"])
          .default("auto")
          .describe("Where a recording's start comes from"),
      })
      .prefault({}),
    trigger: z
      .strictObject({
        url: matching('a URL like "https://example.org/hook"', /^https?:\/\/[^/\s]+/)
          .nullable()
          .default(null)
          .describe("Whom to tell after a session"),
        format: oneOf(["session", "job"]).default("session").describe("Body of the message"),
        timeoutMs: duration("ms", 1, 600_000).default(30_000).describe("How long an answer is waited for"),
        waitSeconds: duration("seconds", 0, 86_400)
          .default(120)
          .describe("How long a one-shot run tries to tell; what it could not tell stays due"),
        allowLinkLocal: flag().default(false).describe("Link-local and cloud metadata addresses may be asked too"),
        listFiles: flag().default(false).describe("Name every uploaded file instead of the prefix"),
        jobName: text().nullable().default(null).describe("Job format: name of the job"),
        functionName: text().nullable().default(null).describe("Job format: function to run"),
        moduleName: text().nullable().default(null).describe("Job format: module of the function"),
        sqsQueue: text().nullable().default(null).describe("Job format: queue"),
        sqsRegion: text().nullable().default(null).describe("Job format: region of the queue"),
      })
      .prefault({}),
    sync: z
      .strictObject({
        intervalSeconds: duration("seconds", 1, 86_400).default(15).describe("Pause between two passes"),
        settleSeconds: duration("seconds", 0, 3_600)
          .default(5)
          .describe("How long a file must rest before it is taken"),
      })
      .prefault({}),
  };

  return z.strictObject({
    $schema: z.string().optional().describe("For editors"),
    ...perSource,
    concurrency: z
      .union([z.literal("auto"), z.int().min(1).max(10_000)])
      .meta({ title: '"auto" or a whole number from 1 to 10000' })
      .default("auto")
      .describe("Files at one time; auto rises while throughput rises"),
    bytesInFlight: size(2 ** 20, 'a size of at least 1MiB, like "96MiB"')
      .prefault("96MiB")
      .describe("Bytes of files held in memory at most"),
    bwlimit: size(1024, 'a size per second of at least 1KiB, like "10MiB"')
      .nullable()
      .default(null)
      .describe("Bytes per second that each process sends at most (200M is 200 MiB/s)"),
    maxOutageMinutes: duration("minutes", 0, 525_600)
      .default(15)
      .describe("How long a one-shot run waits for a store or database that is away"),
    database: z
      .strictObject({
        url: matching('a URL like "postgresql://user@host:5432/name"', /^postgres(?:ql)?:\/\/./)
          .nullable()
          .default(null)
          .describe("PostgreSQL to use; absent: the bundled one"),
        schema: matching("a plain SQL name", /^(?!pg_)[A-Za-z_][A-Za-z0-9_$]{0,62}$/)
          .default("public")
          .describe("Schema that holds our tables"),
      })
      .prefault({}),
    pseudonyms: flag()
      .default(false)
      .describe("Keep patients as keyed pseudonyms (UPLOADER_PSEUDONYM_KEY) instead of as they are given"),
    patientTags: flag()
      .default(false)
      .describe(
        "Write who wore a recording's sensors into a tag of its objects, which more people see than the objects",
      ),
    sources: z
      .array(
        z.strictObject({
          name: matching("a name of letters, digits, dots, dashes and underscores", /^[\p{L}\p{N}._-]+$/u).describe(
            "Name of this source",
          ),
          ...perSource,
        }),
      )
      .meta({ title: "a list of sources" })
      .default([])
      .describe("For sync: several sources; each entry overrides the top level"),
    stateDirectory: text("a folder").nullable().default(null).describe("Where the bundled database lives"),
    logFormat: oneOf(["text", "json"]).default("text").describe("What is written to stderr, or into the log file"),
    logFile: text("a file").nullable().default(null).describe("File that takes what else is written to stderr"),
    logMaxSize: size(4096, 'a size of at least 4KiB, like "10MiB"')
      .prefault("10MiB")
      .describe("A log file larger than this is put aside as FILE.1, that as FILE.2 …"),
    logKeep: whole(0, 1000).default(5).describe("How many log files that were put aside are kept"),
    http: matching(
      'an address like "127.0.0.1:9464" or "unix:/run/uploader.sock"',
      /^(?:unix:.+|(?:\[[0-9A-Fa-f:.]+\]|[^\s:/]+):\d{1,5})$/,
    )
      .nullable()
      .default(null)
      .describe("Where sync --watch answers /healthz, /readyz and /metrics; absent: nowhere"),
    httpAllowRemote: flag().default(false).describe("Let http be an address that other machines reach"),
  });
}

export type Settings = z.output<ReturnType<typeof configSchema>>;

/** The published schema, `config.schema.json`, which also is the table of keys that flags are made from. */
export function configSchemaText(): string {
  const schema = z.toJSONSchema(configSchema(), {
    io: "input",
    override({ jsonSchema, path }) {
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      // What an entry of `sources` leaves out comes from the top level.
      if (path.includes("sources") && path.length > 2) delete jsonSchema.default;
      if (JSON.stringify(jsonSchema.default) === "{}") delete jsonSchema.default;
    },
  });
  return `${JSON.stringify({ title: "Configuration of uploader", ...schema }, null, 2)}\n`;
}
