/**
 * What an OrthoMixer knows from its own last run and from the nodes above it.
 *
 * @typedef {{proposal: object[] | null, isDetached: boolean, isWired: boolean, names: string[], forecast: object | null,
 *   changed: import("./trace.mjs").Change[], warnings: {kind: string, text: string, models: string[], enable: string[]}[]}} MixContext
 *   proposal null: an optimizer is wired and has not spoken yet; []: none is wired and none was.
 *   isDetached: the rows are those of an earlier run and follow no optimizer any more.
 *   changed: what differs from the run that the proposal and the figures come from.
 */
import { modelNames, readNames } from "../faces/model_names.mjs";
import { worded } from "../parts/messages.mjs";
import { upstream } from "./graph.mjs";
import { recall, traceOf } from "./results.mjs";
import { changes } from "./trace.mjs";

/** @returns {MixContext} */
export function mixContext(node, app) {
  const own = recall(node, app);
  const optimizer = upstream(node, "mix");
  const above = optimizer ? recall(optimizer, app) : null;
  const isMix = (item) => item?.payload?.kind === "mix";
  const mixes = [own, above].flatMap((item) => (item && isMix(item) ? [item] : []));
  const newest = mixes.sort((a, b) => b.time - a.time)[0] ?? null;
  const found = newest?.payload ?? null;
  const rows = found?.proposal?.length ? found.proposal : null;
  const isDetached = !optimizer && rows !== null;
  return {
    proposal: optimizer || isDetached ? rows : [],
    isDetached,
    isWired: upstream(node, "models") !== null,
    names: namesUpstream(node, app) ?? found?.names ?? [],
    warnings: optimizer ? (found?.warnings ?? []).map(readWarning) : [],
    forecast: found?.forecast ?? null,
    changed: newest && !isDetached ? changedSince(newest === own ? node : optimizer, newest) : [],
  };
}

/** What differs from the graph that a result came from; empty where nothing does or nothing is known. */
export function changedSince(node, result) {
  return result?.trace && node?.graph ? changes(result.trace, traceOf(node)) : [];
}

/** A warning and the models that its button would switch on. */
function readWarning(warning) {
  if (typeof warning === "string") return { kind: "", text: warning, models: [], enable: [] };
  const { action, models } = warning.suggestion ?? {};
  return {
    kind: warning.kind ?? "",
    text: worded(warning.message ?? warning),
    models: warning.models ?? [],
    enable: action === "enable" ? (models ?? []) : [],
  };
}

/** Names of the set: as the nearest node up the `models` wire said since, or as its list is written. */
function namesUpstream(node, app) {
  const own = recall(node, app);
  const set = upstream(node, "models");
  for (let source = set, steps = 0; source && steps < 32; steps += 1) {
    const said = recall(source, app);
    if (said?.payload?.kind === "set" && (said.time > (own?.time ?? 0) || !own)) {
      return said.payload.models.map((item) => (typeof item === "string" ? item : item.name));
    }
    source = upstream(source, "models") ?? upstream(source, "extend");
  }
  return own?.payload?.names ?? (set ? namesWritten(set) : null);
}

/** Before any run: what the lists of the model sets name. */
function namesWritten(set) {
  const files = [];
  for (let source = set, steps = 0; source && steps < 32; steps += 1) {
    const list = source.widgets?.find((widget) => widget.name === "models");
    if (list) files.unshift(...readNames(list.value));
    source = upstream(source, "models") ?? upstream(source, "extend");
  }
  return files.length ? modelNames(files) : null;
}
