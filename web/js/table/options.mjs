/** The options of methods as the table states them. Pure. */
import { makeState } from "./model.mjs";

/**
 * One option of a method. The default itself is not stored, unless a new mix starts with something else:
 * then choosing the default is a choice.
 */
export function setOption(state, method, param, value) {
  const { [param.name]: _, ...rest } = state.table.options[method] ?? {};
  const isSaid = value !== param.default || param.suggested !== undefined;
  const values = isSaid ? { ...rest, [param.name]: value } : rest;
  const { [method]: __, ...others } = state.table.options;
  const options = Object.keys(values).length ? { ...others, [method]: values } : others;
  return makeState({ ...state.table, options }, state.proposal, state.names);
}

/** What a method suggests to a new mix, where the table does not say anything of that option yet. */
export function withSuggestions(state, method, params) {
  const stated = state.table.options[method] ?? {};
  return params
    .filter((param) => param.suggested !== undefined && !(param.name in stated))
    .reduce((next, param) => setOption(next, method, param, param.suggested), state);
}
