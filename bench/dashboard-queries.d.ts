export interface DashboardQuery {
  title: string;
  format: "table" | "time_series";
  sql: string;
}
export function dashboardQueries(
  model: unknown,
  shown: { fromMs: number; toMs: number; all?: Record<string, readonly string[]> },
): DashboardQuery[];
