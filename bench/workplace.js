/** The bench's own folder below the temporary one: trees, programs built from C, state, certificates, results. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const workplace = join(tmpdir(), "uploader-bench");
mkdirSync(workplace, { recursive: true, mode: 0o755 });

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const newer = (file, sources) =>
  existsSync(file) && sources.every((source) => statSync(source).mtimeMs < statSync(file).mtimeMs);

function compile(name, sources, libraries) {
  const program = join(workplace, name);
  const files = sources.map(here);
  if (!newer(program, files)) execFileSync("gcc", ["-O2", "-o", program, ...files, ...libraries], { stdio: "inherit" });
  return program;
}

export const sinkProgram = () =>
  compile("sink", ["sink/sink.c", "sink/routes.c", "sink/store.c"], ["-lssl", "-lcrypto"]);
export const measureProgram = () => compile("measure", ["measure.c"], []);

/** For 127.0.0.1, signed by itself, so it is its own authority. */
export function certificate() {
  const [cert, key] = [join(workplace, "cert.pem"), join(workplace, "key.pem")];
  if (!existsSync(cert)) {
    const names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650"];
    execFileSync("openssl", ["req", "-x509", ...kind, ...names, "-keyout", key, "-out", cert], { stdio: "ignore" });
  }
  return { cert, key };
}

/** No account of this machine's user must decide what is measured. */
export function clientEnvironment() {
  const config = join(workplace, "aws-config");
  // Debian's aws 2.9 has the CRT client too, which ignores the port of an endpoint.
  writeFileSync(config, "[default]\ns3 =\n  preferred_transfer_client = default\n");
  const { PATH, LANG, HOME } = process.env;
  return {
    PATH,
    LANG,
    HOME,
    AWS_ACCESS_KEY_ID: "bench",
    AWS_SECRET_ACCESS_KEY: "bench",
    AWS_REGION: "us-east-1",
    AWS_DEFAULT_REGION: "us-east-1",
    AWS_CONFIG_FILE: config,
    AWS_EC2_METADATA_DISABLED: "true",
  };
}
