/** Named tables, kept per user on the server under `/userdata/orthomerge/presets.json`. */
import { el, iconButton } from "../parts/dom.mjs";
import { closePopup, openPopup } from "../parts/popup.mjs";
import { t } from "../parts/words.mjs";

const FILE = "orthomerge/presets.json";

/** @param {{getUserData: Function, storeUserData: Function}} api ComfyUI's own */
export function presetStore(api) {
  return {
    async load() {
      const answer = await api.getUserData(FILE);
      if (answer.status === 404) return {};
      if (!answer.ok) throw new Error(`${answer.status}`);
      const stored = await answer.json();
      return stored && typeof stored === "object" && !Array.isArray(stored) ? stored : {};
    },
    save: (all) => api.storeUserData(FILE, all, { overwrite: true, stringify: true, throwOnError: true }),
  };
}

/**
 * @param {HTMLElement} anchor
 * @param {{store: any, current: () => object, apply: (preset: object) => void, say: (text: string, severity?: string) => void}} options
 */
export async function openPresets(anchor, { store, current, apply, say }) {
  let all;
  try {
    all = await store.load();
  } catch (error) {
    say(t("presetFailed", { reason: reasonOf(error) }), "error");
    return;
  }
  const name = el("input.om-input", {
    type: "text",
    placeholder: t("presetName"),
    "aria-label": t("presetName"),
    maxLength: 80,
  });
  const list = el("div.om-list.om-scroll", {});
  const keep = async (next, words) => {
    try {
      await store.save(next);
      all = next;
      draw();
      say(words);
    } catch (error) {
      say(t("presetFailed", { reason: reasonOf(error) }), "error");
    }
  };
  const draw = () => {
    const names = Object.keys(all).sort((a, b) => a.localeCompare(b));
    list.replaceChildren(
      ...names.map((key) =>
        el(
          "div.om-preset",
          {},
          el(
            "button.om-menu-item",
            {
              type: "button",
              "aria-label": t("load", { name: key }),
              on: {
                click: () => {
                  closePopup();
                  apply(all[key]);
                  say(t("presetLoaded", { name: key }));
                },
              },
            },
            el("span", {}, key),
            el("span.om-note", {}, summary(all[key])),
          ),
          iconButton("cross", t("delete", { name: key }), () => {
            const { [key]: _, ...rest } = all;
            keep(rest, t("presetDeleted", { name: key }));
          }),
        ),
      ),
    );
    if (!names.length) list.append(el("p.om-empty", {}, t("noPresets")));
  };
  const form = el(
    "form.om-form",
    {
      on: {
        submit: (event) => {
          event.preventDefault();
          const key = name.value.trim();
          if (!key) return;
          name.value = "";
          keep({ ...all, [key]: current() }, t("presetSaved", { name: key }));
        },
      },
    },
    name,
    el("button.om-button", { type: "submit" }, t("save")),
  );
  draw();
  openPopup(anchor, el("div.om-presets", {}, form, list), { label: t("presets"), width: 300 });
  name.focus();
}

const reasonOf = (error) => (error instanceof Error ? error.message : String(error));
const summary = (preset) => `${preset?.rows?.length ?? 0} · ${preset?.method ?? ""}`;
