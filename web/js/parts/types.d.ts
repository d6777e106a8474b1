/** The element that `el(tag)` makes: "input.om-number" gives an HTMLInputElement. */
export type ElementOf<Tag extends string> = Named<Tag extends `${infer Name}.${string}` ? Name : Tag>;
type Named<Name extends string> = Name extends keyof HTMLElementTagNameMap ? HTMLElementTagNameMap[Name] : HTMLElement;

/** What may stand inside an element; null, undefined and false are left out. */
export type Child = Node | string | null | undefined | false | Child[];

export interface PickerItem {
  name: string;
  /** Shown instead of the name. */
  label?: string;
  note?: string;
  disabled?: boolean;
}

export interface MenuItem {
  label: string;
  keys?: string;
  disabled?: boolean;
  action: () => void;
}
