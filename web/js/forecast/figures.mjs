/** The live figures of every row, from the forecast the optimizer's payload makes possible. Pure. */
import { forecast } from "./forecast.mjs";
import { isActive } from "../table/rules.mjs";

/**
 * @param {{model: string, alpha: number} | null} [texture] the boost after the merge, which adds to what is kept
 * @returns {({size: number, relative: number, fresh: number | null, kept: number | null, exact: boolean} | null)[]}
 *   one per row; `relative` is the size as a share of the largest row. A row that is off keeps nothing.
 */
export function rowFigures(reduced, rows, method, options, texture = null) {
  if (!reduced) return rows.map(() => null);
  let found;
  try {
    found = forecast(reduced, rows, method, options, texture);
  } catch {
    return rows.map(() => null); // a half-typed or unknown method: the table itself says what is wrong
  }
  const largest = Math.max(...found.rows.map((row) => row.norm ?? 0), Number.MIN_VALUE);
  return found.rows.map((row, i) =>
    row.norm === null || row.norm === undefined || row.problem
      ? null
      : {
          size: row.norm,
          relative: row.norm / largest,
          fresh: row.new_information,
          kept: isActive(rows[i]) ? row.retention : null,
          exact: found.exact,
        },
  );
}
