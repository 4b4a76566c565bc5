import { parseArgs } from "node:util";
import { startS3Server } from "./server.ts";

/** The server as a program, for benches and manual use; README.md says how it is built and started. */
const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    dir: { type: "string" },
    bucket: { type: "string", multiple: true, default: ["bucket"] },
    region: { type: "string", default: "us-east-1" },
    "access-key": { type: "string", default: "AKIDEXAMPLE" },
    secret: { type: "string", default: "secretsecret" },
    "min-part-bytes": { type: "string" },
    "opaque-etags": { type: "boolean", default: false },
  },
});

const server = await startS3Server({
  port: Number(values.port),
  buckets: values.bucket,
  region: values.region,
  quirks: { etags: values["opaque-etags"] ? "opaque" : "md5" },
  credentials: [{ accessKeyId: values["access-key"], secretAccessKey: values.secret }],
  ...(values.dir === undefined ? {} : { directory: values.dir }),
  ...(values["min-part-bytes"] === undefined ? {} : { minPartBytes: Number(values["min-part-bytes"]) }),
});

const variables = {
  AWS_ENDPOINT_URL_S3: server.endpoint,
  AWS_ACCESS_KEY_ID: server.credential.accessKeyId,
  AWS_SECRET_ACCESS_KEY: server.credential.secretAccessKey,
  AWS_REGION: server.region,
};
for (const [name, value] of Object.entries(variables)) console.log(`export ${name}='${value}'`);

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void server.close());
