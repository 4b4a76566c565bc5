/** The door to the configuration: what was asked for, by whom, and what every key is called. */

export type { DatabaseConnection } from "./config/database.ts";
export { withPassword } from "./config/database.ts";
export type { DestinationPlace } from "./config/destination.ts";
export { destinationText, parseDestination } from "./config/destination.ts";
export type { Secrets } from "./config/environment.ts";
export type { FlagSpec } from "./config/keys.ts";
export { describeFlags, flagOf } from "./config/keys.ts";
export type { Config, ConfigInput, LoadedConfig, SourceConfig } from "./config/load.ts";
export { configForSource, loadConfig } from "./config/load.ts";
export { redactConfig, redactUrl } from "./config/redact.ts";
export { withRememberedStore } from "./config/remembered.ts";
export { parseDuration } from "./config/sizes.ts";
export { configText } from "./config/written.ts";
