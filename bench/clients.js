/** How each program is told to copy a folder to the sink. `env` comes on top of the common environment. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const debianAws = "/usr/bin/aws";

/** @returns name → `(job) => { command, env }`, where job is { tree, url, prefix, project, stateDirectory, flags } */
export function createClients({ program, aws = existsSync(debianAws) ? debianAws : "aws", python }) {
  return {
    uploader: ({ tree, url, prefix, project, stateDirectory, flags = [] }) => ({
      command: [
        ...[process.execPath, program, "upload", tree, `s3://bench/${prefix}`],
        ...["--endpoint-url", url, "--project", project, "--quiet", ...flags],
      ],
      env: { UPLOADER_STATE_DIR: stateDirectory },
    }),
    rclone: ({ tree, url, prefix }) => ({
      command: ["rclone", "copy", tree, `sink:bench/${prefix}`, "--transfers", "15"],
      env: {
        RCLONE_CONFIG: "/dev/null",
        RCLONE_CONFIG_SINK_TYPE: "s3",
        RCLONE_CONFIG_SINK_PROVIDER: "Other",
        RCLONE_CONFIG_SINK_ENV_AUTH: "true",
        RCLONE_CONFIG_SINK_ENDPOINT: url,
        RCLONE_CONFIG_SINK_REGION: "us-east-1",
      },
    }),
    aws: ({ tree, url, prefix }) => ({
      command: [aws, "--endpoint-url", url, "s3", "cp", "--recursive", "--quiet", tree, `s3://bench/${prefix}`],
      env: {},
    }),
    boto3: ({ tree, url, prefix }) => ({
      command: [python, fileURLToPath(new URL("upload.py", import.meta.url)), tree, "bench", prefix, url],
      env: {},
    }),
  };
}

const firstLine = (command, ...given) => {
  try {
    return execFileSync(command, given, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split("\n")[0];
  } catch {
    return `${command}: not here`;
  }
};

export function versionsOf({ program, aws = existsSync(debianAws) ? debianAws : "aws", python }) {
  return {
    node: process.version,
    uploader: firstLine(process.execPath, program, "--version"),
    rclone: firstLine("rclone", "version"),
    aws: firstLine(aws, "--version"),
    boto3: firstLine(python, "-c", "import boto3; print(boto3.__version__)"),
    gcc: firstLine("gcc", "--version"),
  };
}
