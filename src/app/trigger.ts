/** Where the configuration's trigger meets the network. */
import { type Config, redactUrl } from "../config.ts";
import type { DeliveryPlan, Trigger } from "../core/deliveries.ts";
import { assertSecrets } from "../operations/trigger.ts";

/** null: no URL is configured. */
export function deliveryPlan({ trigger }: Pick<Config, "trigger">): DeliveryPlan | null {
  const { url, format, listFiles, jobName, functionName, moduleName, sqsQueue, sqsRegion } = trigger;
  if (url === null) return null;
  const recipe = { format, listFiles, jobName, functionName, moduleName, sqsQueue, sqsRegion };
  return { url, shownUrl: redactUrl(url), recipe };
}

/** How a run with this configuration tells others. Errors: config_invalid when it could not sign, or must not ask there. */
export async function openTrigger(config: Pick<Config, "trigger" | "secrets">): Promise<Trigger> {
  const { timeoutMs, waitSeconds, allowLinkLocal } = config.trigger;
  const plan = deliveryPlan(config);
  const secrets = { signing: config.secrets.triggerSecrets, apiKey: config.secrets.triggerApiKey };
  if (plan !== null) assertSecrets(plan.recipe.format, secrets);
  const load = () => import("../adapters/webhook.ts");
  if (plan !== null) (await load()).assertAskable(plan.url, allowLinkLocal);
  // Most runs have nobody to tell, and need no HTTP.
  const webhook: Trigger["webhook"] = {
    post: async (message, signal) =>
      (await load()).openWebhook({ allowLinkLocal, env: process.env }).post(message, signal),
  };
  return { plan, secrets, webhook, timeoutMs, waitMs: waitSeconds * 1000 };
}
