import type {
  ClaimedDelivery,
  DeliveryAttemptRow,
  DeliveryPlan,
  DeliveryRecipe,
  DeliveryRow,
  DueDeliveries,
  Outbox,
} from "../core/deliveries.ts";
import { renderBody, rootPath } from "../core/delivery-message.ts";
import type { SessionRow, WorkerIdentity } from "../core/store.ts";
import { textArray } from "./arrays.ts";
import type { Database, Query, Row } from "./database.ts";
import type { Run } from "./runner.ts";
import { camel, unknownSession } from "./sessions.ts";

/** Some 15 KB: neither many statements nor much memory (300,000 paths: 128 MB with 250, 149 MB with 4,000 at a time). */
const pathsPerPiece = 250;

const urlColumns = ({ url, shownUrl }: DeliveryPlan) => ({ url: shownUrl, urlHidden: shownUrl !== url });

const planColumns = (plan: DeliveryPlan) => ({
  ...urlColumns(plan),
  format: plan.recipe.format,
  recipe: JSON.stringify(plan.recipe),
});

export function outbox(database: Database, run: Run, isAlive: (worker: WorkerIdentity) => boolean | null): Outbox {
  /** Its counters stand still while it is locked, so what is said of it is one moment's truth. */
  const lockSession = async (sessionId: number, query: Query): Promise<SessionRow> => {
    await run("sessions_lock", { sessionId }, query);
    const [row] = await run("sessions_get", { sessionId }, query);
    if (!row) throw unknownSession(sessionId);
    return camel<SessionRow>(row);
  };

  const row = (columns: Row): DeliveryRow => camel<DeliveryRow>(columns);

  /** The list of paths is made within the database: 300,000 of them never come here. */
  const freeze = async (
    deliveryId: number,
    scope: DeliveryRow["scope"],
    session: SessionRow,
    recipe: DeliveryRecipe,
    query: Query,
  ): Promise<DeliveryRow> => {
    const { head, tail } = renderBody(session, recipe);
    await run("deliveries_piece", { deliveryId, number: 0, text: head }, query);
    if (tail !== null) {
      const root = `${rootPath(session)}/`;
      const list = { deliveryId, sessionId: session.id, root, perPiece: pathsPerPiece };
      await run(scope === "pass" ? "deliveries_list_pass" : "deliveries_list_session", list, query);
      await run("deliveries_piece", { deliveryId, number: 2_147_483_647, text: tail }, query);
    }
    const [frozen] = await run("deliveries_freeze", { deliveryId }, query);
    return row(frozen!);
  };

  const write = async (
    session: SessionRow,
    plan: DeliveryPlan,
    scope: DeliveryRow["scope"],
    webhookId: string,
    query: Query,
  ): Promise<DeliveryRow> => {
    const values = { sessionId: session.id, webhookId, scope, ...planColumns(plan) };
    const [inserted] = await run<{ id: number }>("deliveries_insert", values, query);
    const deliveryId = inserted!.id;
    if (scope === "pass") await run("deliveries_take_pass", { deliveryId, sessionId: session.id }, query);
    return freeze(deliveryId, scope, session, plan.recipe, query);
  };

  return {
    promise: async (sessionId, plan, webhookId) => {
      await run("deliveries_promise", { sessionId, webhookId, ...planColumns(plan) });
    },
    unpromise: async (sessionId) => {
      await run("deliveries_unpromise", { sessionId });
    },

    release: async (project) => {
      const unsent: DeliveryRow[] = [];
      for (const { id } of await run<{ id: number }>("deliveries_ripe", { project })) {
        const frozen = await database.transaction(async (query) => {
          const [held] = await run<{ session_id: number; recipe: DeliveryRecipe }>(
            "deliveries_recipe",
            { deliveryId: id },
            query,
          );
          if (!held) return null;
          const session = await lockSession(held.session_id, query);
          // Looked at again under the lock: a retry may have begun.
          const ripe = await run<{ id: number; is_idle: boolean }>("deliveries_ripe", { project }, query);
          const still = ripe.find((each) => each.id === id);
          if (still?.is_idle) await run("deliveries_forget", { deliveryId: id }, query);
          return still && !still.is_idle ? freeze(id, "session", session, held.recipe, query) : null;
        });
        if (frozen?.status === "gone") unsent.push(frozen);
      }
      return unsent;
    },

    held: async (sessionId) => (await run<{ id: number }>("deliveries_held", { sessionId }))[0]?.id ?? null,

    tell: (sessionId, plan, { webhookId, force }) =>
      database.transaction(async (query) => {
        const session = await lockSession(sessionId, query);
        const { recipe, format, url, urlHidden } = planColumns(plan);
        const [same] = await run<{ id: number; status: string; url: string }>(
          "deliveries_same",
          { sessionId, format, recipe },
          query,
        );
        const delivered = same?.status === "delivered" && same.url === url;
        if (delivered && !force) return { deliveryId: same.id, told: true };
        const again = same && same.status !== "delivered";
        const deliveryId = again ? same.id : (await write(session, plan, "session", webhookId, query)).id;
        if (again) await run("deliveries_unpromise", { sessionId }, query);
        await run("deliveries_supersede", { sessionId, deliveryId }, query);
        await run("deliveries_redirect", { sessionId, deliveryId, url, urlHidden }, query);
        return { deliveryId, told: false };
      }),

    tellPass: (sessionId, plan, webhookId) =>
      database.transaction(async (query) => {
        const session = await lockSession(sessionId, query);
        const [untold] = await run<{ any: boolean }>("deliveries_untold", { sessionId }, query);
        if (!untold?.any) return null;
        // What arrived since the last pass is what the next system must hear of: named, whatever is configured.
        const named = { ...plan, recipe: { ...plan.recipe, listFiles: true } };
        return write(session, named, "pass", webhookId, query);
      }),

    replay: async ({ id, sessionId, url, urlHidden }, plan) => {
      const to = plan ? urlColumns(plan) : { url, urlHidden };
      await run("deliveries_redirect", { sessionId, deliveryId: id, ...to });
    },

    rescue: async (project) => {
      let freed = 0;
      const leased = await run<{ id: number; attempts: number; holder: WorkerIdentity | null }>("deliveries_leased", {
        project,
      });
      for (const { id, attempts, holder } of leased) {
        if (holder === null || isAlive(holder) !== false) continue;
        freed += (await run("deliveries_rescue", { deliveryId: id, attempts })).length;
      }
      return freed;
    },

    claim: async (project, me, { formats, hiddenUrl }, { leaseMs, first }) => {
      const [taken] = await run("deliveries_claim", {
        project,
        holder: JSON.stringify(me),
        formats: textArray(formats),
        hiddenUrl,
        leaseSeconds: leaseMs / 1000,
        first,
      });
      return taken ? camel<ClaimedDelivery>(taken) : null;
    },

    next: async (project, { formats, hiddenUrl }) => {
      const [next] = await run("deliveries_next", { project, formats: textArray(formats), hiddenUrl });
      return camel<DueDeliveries>(next!);
    },

    async *body(deliveryId) {
      for (let afterNumber = -1; ; ) {
        const [piece] = await run<{ number: number; text: string }>("deliveries_read", { deliveryId, afterNumber });
        if (!piece) return;
        yield piece.text;
        afterNumber = piece.number;
      }
    },

    record: async (delivery, ending) => {
      const { message, ...rest } = ending;
      await run("deliveries_record", {
        ...rest,
        deliveryId: delivery.id,
        attempt: delivery.attempt,
        errorMessage: message,
        delayMs: Math.round(ending.delayMs),
        durationMs: Math.round(ending.durationMs),
      });
    },

    delivery: async (deliveryId) => (await run("deliveries_get", { deliveryId })).map(row)[0] ?? null,
    history: async (sessionId) => (await run("deliveries_history", { sessionId })).map(row),
    attempts: async (sessionId) => (await run("deliveries_attempts", { sessionId })).map(camel<DeliveryAttemptRow>),
  };
}
