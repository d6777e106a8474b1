/** The part of ComfyUI's page that this extension uses, in releases 1.32.9 to 1.58.1 of its frontend. */

export interface ComfyWidget {
  name: string;
  type?: string;
  value: any;
  label?: string;
  node?: ComfyNode;
  options?: any;
  element?: HTMLElement;
  serialize?: boolean;
  callback?: (value: any) => unknown;
  onRemove?: () => void;
  computeSize?: (width?: number) => [number, number];
  computeLayoutSize?: unknown;
}

export interface ComfyNode {
  id: number | string;
  title: string;
  type: string;
  mode: number;
  comfyClass?: string;
  graph?: any;
  inputs?: { name: string; link: number | null }[];
  widgets?: ComfyWidget[];
  properties: Record<string, any>;
  size: [number, number];
  pos: [number, number];
  isVirtualNode?: boolean;
  getInputNode?: (slot: number) => ComfyNode | null;
  computeSize: () => [number, number];
  setSize: (size: [number, number]) => void;
  setDirtyCanvas?: (front: boolean, back: boolean) => void;
  addDOMWidget: (name: string, type: string, element: HTMLElement, options: object) => any;
  onExecuted?: (output: any) => void;
  onConfigure?: (data: any) => void;
  onConnectionsChange?: (...args: any[]) => void;
  onRemoved?: () => void;
}

export interface ComfyApi {
  addEventListener: (type: string, listener: (event: any) => void) => void;
  fetchApi: (path: string, options?: RequestInit) => Promise<Response>;
  getUserData: (file: string) => Promise<Response>;
  storeUserData: (file: string, data: any, options?: object) => Promise<Response>;
}

export type ComfyApp = any;
