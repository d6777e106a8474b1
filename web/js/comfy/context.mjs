/**
 * What an OrthoMixer knows from its own last run and from the nodes above it.
 *
 * @typedef {{proposal: object[] | null, isDetached: boolean, isWired: boolean, names: string[], forecast: object | null,
 *   changed: import("./trace.mjs").Change[],
 *   parts: import("../table/types").Parts | null, warnings: {kind: string, text: string, models: string[], enable: string[]}[]}} MixContext
 *   proposal null: an optimizer is wired and has not spoken yet; []: none is wired and none was.
 *   isDetached: the rows are those of an earlier run and follow no optimizer any more.
 *   changed: what differs from the run that the proposal and the figures come from.
 */
import { membersOf } from "./server_lists.mjs";
import { modelNames, readNames } from "../faces/model_names.mjs";
import { worded } from "../parts/messages.mjs";
import { upstream } from "./graph.mjs";
import { recall, traceOf } from "./results.mjs";
import { changes } from "./trace.mjs";

/** Where to ask for the members of a set; null in tests without a server. */
let server = null;
export const askServer = (api) => {
  server = api;
};

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
  const changed = newest && !isDetached ? changedSince(newest === own ? node : optimizer, newest) : [];
  return {
    proposal: optimizer || isDetached ? rows : [],
    isDetached,
    isWired: upstream(node, "models") !== null,
    names: namesUpstream(node, app) ?? found?.names ?? [],
    warnings: optimizer ? readWarnings(found) : [],
    forecast: found?.forecast ?? null,
    changed,
    parts: partsUpstream(node, changed.length ? null : own),
  };
}

/** What differs from the graph that a result came from; empty where nothing does or nothing is known. */
export function changedSince(node, result) {
  return result?.trace && node?.graph ? changes(result.trace, traceOf(node)) : [];
}

const readWarnings = (found) => (found?.warnings ?? []).map(readWarning);

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

/** The chain of model sets that ends in this node, the one with the base first. */
function setsUpstream(set) {
  const sets = [];
  for (let source = set, steps = 0; source && steps < 32; steps += 1) {
    if (source.widgets?.some((widget) => widget.name === "models")) sets.unshift(source);
    source = upstream(source, "models") ?? upstream(source, "extend");
  }
  return sets;
}

const valueOf = (node, name) => String(node?.widgets?.find((widget) => widget.name === name)?.value ?? "");

/** What the server says of the first of these sets; null until it has answered, and where it is not asked. */
function firstMembers(sets) {
  const base = valueOf(sets[0], "base");
  return server && base ? membersOf(server, base, valueOf(sets[0], "models")) : null;
}

/** Before any run: what the lists of the model sets name; of an empty list, what the server finds. */
function namesWritten(set) {
  const sets = setsUpstream(set);
  const found = firstMembers(sets);
  if (sets.length === 1 && found && !found.missing.length) return found.names;
  const written = sets.map((item) => readNames(valueOf(item, "models")));
  if (found && !written[0].length) written[0] = Object.values(found.files);
  const files = written.flat();
  return files.length ? modelNames(files) : null;
}

/** What the set leaves to choose: as the last run said, or before it as the server does. */
function partsUpstream(node, own) {
  if (own?.payload?.parts) return own.payload.parts;
  const sets = setsUpstream(upstream(node, "models"));
  if (!sets.length || sets.some((item) => valueOf(item, "components") === "diffusion")) return null;
  return firstMembers(sets)?.parts ?? null;
}
