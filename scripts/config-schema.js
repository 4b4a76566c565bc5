// Writes config.schema.json from the schema in src/config/schema.ts, as built: `npm run build` comes first.
import { writeFileSync } from "node:fs";
import { configSchemaText } from "../build/config/schema.js";

writeFileSync(new URL("../config.schema.json", import.meta.url), configSchemaText());
