/** The table's parts and what they hand each other. */
import type { Row } from "./rules.mjs";
import type { Taken } from "./grid_cells.mjs";
import type { Entry, State } from "./model.mjs";

/** What a row's bars show; `blocks` is the row's energy per block, where it is known. */
export interface Figures {
  size: number;
  relative: number;
  fresh: number | null;
  kept: number | null;
  exact: boolean;
}

export interface Param {
  name: string;
  kind: string;
  default: any;
  help: string;
  minimum?: number;
  maximum?: number;
  choices?: string[];
  /** What a new mix states; the default where there is none. */
  suggested?: any;
}

export interface MethodInfo {
  label?: string;
  summary?: string;
  max_rows?: number | null;
  order_matters?: boolean;
  params: Param[];
}

/** Something a person should know. `row` −1: of the whole table. */
export interface Notice {
  code: string;
  tone: "error" | "warning" | "info";
  row: number;
  text: string;
  /** Models that a button would switch on. */
  enable?: string[];
  /** Whether those would be rows of their own. */
  isNew?: boolean;
  /** Another way out: its label and what it does. */
  action?: { label: string; run: () => void };
  /** Already told by the row's own reason: counted, not repeated. */
  isTold?: boolean;
}

/** What a set leaves to choose; see `nodes/parts.py`. */
export interface Parts {
  components: string[];
  vae: string[];
  predictions: Record<string, string>;
  vae_files: string[];
}

export interface Context {
  proposal: Row[] | null;
  isDetached?: boolean;
  isWired?: boolean;
  names: string[];
  forecast?: any;
  changed?: { title: string; what: string[] }[];
  parts?: Parts | null;
  warnings?: { kind: string; text: string; models: string[]; enable: string[] }[];
  failure?: string;
}

/** What the table needs from outside; ComfyUI stands behind it, or a test. */
export interface Host {
  getValue: () => string;
  commit: (value: string) => void;
  context: () => Context;
  method: () => string;
  methods: () => Record<string, MethodInfo>;
  texture: () => { model: string; alpha: number };
  applyMethod: (method: string) => void;
  /** VAE and prediction of the result, as the node has them. */
  parts: () => { vae: string; prediction: string };
  setPart: (name: "vae" | "prediction", value: string) => void;
  /** Method, texture, VAE and prediction of a recipe with the table's string, as one step of undo. */
  takeOver: (taken: Taken, table: string) => void;
  figures: (rows: Row[], method: string, options: Record<string, unknown>) => (Figures | null)[];
  say: (text: string, severity?: string) => void;
  history: (step: "undo" | "redo" | null) => void;
  presets: any;
  /** What is open and filtered: kept beside the workflow, not in it. */
  cosmetic: { optionsOpen?: boolean; filter?: Filter };
  keepCosmetic: () => void;
  /** Forgets the rows of an earlier run. */
  forget: () => void;
  resized: () => void;
}

export interface Filter {
  text: string;
  state: "all" | "on" | "off" | "noted" | "changed";
}

export interface Actions {
  change: (state: State, focus?: string | null) => void;
  set: (index: number, column: string, value: unknown) => void;
  resetCell: (index: number, column: string) => void;
  preview: (index: number, column: string, value: unknown) => void;
  move: (from: number, to: number, part?: string) => void;
  remove: (index: number) => void;
  duplicate: (index: number) => void;
  enable: (...names: string[]) => void;
  drag: (index: number, event: PointerEvent, handle: HTMLElement) => void;
  menu: (index: number, anchor: HTMLElement) => void;
  tableMenu: (anchor: HTMLElement) => void;
  presets: (anchor: HTMLElement) => void;
  pickNew: (anchor: HTMLElement) => void;
  pickModel: (index: number, anchor: HTMLElement) => void;
  pickParent: (index: number, anchor: HTMLElement) => void;
  editLayers: (index: number, anchor: HTMLElement) => void;
  notices: (anchor: HTMLElement) => void;
  goTo: (index: number) => void;
  setPart: (name: "vae" | "prediction", value: string) => void;
}

export interface View {
  host: Host;
  root: HTMLElement;
  state: State;
  act: Actions;
  /** What was drawn last. */
  notices: Notice[];
  figures: (Figures | null)[];
  /** Rows that the filter lets through, as indices of entries. */
  shown: number[];
  /** Whether the text encoders' column is shown. */
  hasText: boolean;
  body: Body;
  live: HTMLElement;
  /** Whether the stored table cannot be read, so that `state` is an empty one. */
  isBroken: boolean;
  focusNext: string | null;
  seen: { text: string; rows: Map<string, string> } | null;
  updated: Set<string> | null;
  refresh: () => void;
  figuresOf: (rows: Row[]) => (Figures | null)[];
  formulaOf: (rows: Row[]) => string;
}

export interface Body {
  scroll: HTMLElement;
  draw: () => void;
  reveal: (index: number) => void;
  rowAt: (index: number) => HTMLElement | null;
}

export type { Entry, Row, State };
