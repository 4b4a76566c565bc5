/** Grafana's macros and variables as it fills them in before a query goes to the database. */
const minuteMs = 60_000;

/**
 * Every query of a dashboard or of alert rules, ready to run: the variables as `chosen` says (default: all), the time
 * shown from `fromMs` to `toMs` (Unix), grouped by the minute.
 */
export function dashboardQueries(model, { fromMs, toMs, all = {} }) {
  const variables = (model.templating?.list ?? []).filter((each) => each.type === "query");
  const panels = (model.panels ?? []).flatMap(({ title, targets }) =>
    targets.map(({ rawSql, format }) => ({ title, format, sql: rawSql })),
  );
  const rules = (model.groups ?? []).flatMap((group) =>
    group.rules.flatMap(({ title, data }) =>
      data
        .filter(({ model: query }) => query.rawSql)
        .map((each) => ({ title, format: each.model.format, sql: each.model.rawSql })),
    ),
  );
  const asked = [
    ...variables.map(({ name, query }) => ({ title: `variable ${name}`, format: "table", sql: query })),
    ...panels,
    ...rules,
  ];
  return asked.map(({ title, format, sql }) => ({ title, format, sql: filledIn(sql, { fromMs, toMs, all }) }));
}

const literal = (text) => `'${text.replaceAll("'", "''")}'`;

function filledIn(sql, { fromMs, toMs, all }) {
  const [from, to] = [fromMs, toMs].map((ms) => literal(new Date(ms).toISOString()));
  return sql
    .replaceAll("$__interval", "1m")
    .replace(/\$__timeFilter\(([\w.]+)\)/g, `$1 between ${from} and ${to}`)
    .replace(
      /\$__timeGroup\(([\w.]+), *1m\)/g,
      `floor(extract(epoch from $1) / ${minuteMs / 1000}) * ${minuteMs / 1000}`,
    )
    .replace(/\$\{(\w+):sqlstring\}/g, (whole, name) => all[name]?.map(literal).join(", ") ?? whole);
}
